"""`layerdrop search`: files, a plan that `layerdrop prune` takes, BLEU, going on, and errors in one line."""

import json
import shutil

import checkpoints
import pytest

from layerdrop_plugin.cli.main import main
from layerdrop_plugin.evaluation import layer_search, losses, session, translations
from layerdrop_plugin.output_folder import held


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / "model.pt"
    return checkpoints.save(path, data, "classification", "--encoder-layers 4")


@pytest.fixture(scope="module")
def translator(data, tmp_path_factory):
    return checkpoints.save(tmp_path_factory.mktemp("nmt") / "model.pt", data, "translation", "--decoder-layers 3")


def test_a_classifier_and_the_child_of_its_plan(data, classifier, tmp_path, layerdrop):
    out = tmp_path / "search"
    words = ["search", data / "nlu", "--path", classifier, "--keep", 2, "--out", out, "--cpu", "--batch-size", 8]
    status, printed, _ = layerdrop(*words)
    assert status == 0 and "the search will take about " in printed
    record, page = json.loads((out / "search.json").read_text()), (out / "search.md").read_text()
    assert (record["type"], record["version"], record["split"]) == ("layerdrop.search", 1, "valid")
    assert record["search"] == {
        "stack": "encoder", "layers": 4, "keep": 2, "method": "exhaustive", "beam": None, "metric": "loss",
    }  # fmt: skip
    kept = ",".join(map(str, record["best"]["layers"]))
    for line in (
        f"the best of 6 subsets of 2 of the encoder's 4 layers (exhaustive search): {kept}: loss ",
        "every other layer (even:2): 1,3: loss ",
        "on the half that did not choose: loss ",
        "layers run for a batch: 9, not 12; time as a share of every subset's by itself: 0.75 expected, ",
    ):
        assert line in printed and line in page
    assert "Equal texts are in one half; labels are in equal shares in both." in page
    assert "| 2: rank 1 " in page or record["rank_of_every_other"] == 1
    assert (out / "search.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == [
        "plan.json", "search.html", "search.json", "search.md", "search.png", "search.state.json",
    ]  # fmt: skip

    assert layerdrop("prune", classifier, tmp_path / "child.pt", "--plan", out / "plan.json")[0] == 0
    child = session.load(tmp_path / "child.pt", data / "nlu", cpu=True)
    loss = losses.measure_all(child, child.batches("valid")).losses.sum()
    halves = ((record[half]["examples"], record["best"][half]["loss"]) for half in ("chosen_on", "tested_on"))
    assert sum(examples * mean for examples, mean in halves) == pytest.approx(loss, rel=1e-5)


def test_greedy_writes_a_plan_for_each_size_and_the_same_command_goes_on(data, classifier, tmp_path, layerdrop):
    out = tmp_path / "search"
    words = ["search", data / "nlu", "--path", classifier, "--keep", 1, "--out", out, "--cpu", "--method", "greedy"]
    assert layerdrop(*words)[0] == 0
    record = json.loads((out / "search.json").read_text())
    for size in record["sizes"]:
        assert json.loads((out / f"plan-{size['size']}.json").read_text()) == size["best"]["plan"]
    assert [size["size"] for size in record["sizes"]] == [3, 2, 1]

    def nothing(*_):
        raise AssertionError("computed again")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layer_search, "_add", nothing)
        status, printed, _ = layerdrop(*words)
    assert status == 0 and "continuing after " in printed
    again = json.loads((out / "search.json").read_text())
    assert again == record
    for other in (["--seed", 2], ["--keep", 2], ["--metric", "accuracy"], ["--batch-size", 3], ["--max-examples", 20]):
        assert "is a search of other settings" in layerdrop(*words, *other)[2]
    assert json.loads((out / "search.json").read_text()) == record


def test_bleu_ranks_the_finalists_again(data, translator, tmp_path, layerdrop, monkeypatch):
    out, bleus = tmp_path / "search", iter([3.0, 9.0, 1.0, 5.0])  # every other (1, 2), whole model, finalists
    monkeypatch.setattr(translations, "bleu", lambda *_: next(bleus))
    words = ["search", data / "nmt", "--path", translator, "--stack", "decoder", "--keep", 2, "--metric", "bleu"]
    status, printed, _ = layerdrop(*words, "--finalists", 2, "--bleu-examples", 6, "--out", out, "--cpu")
    assert status == 0 and "BLEU" in printed
    record = json.loads((out / "search.json").read_text())
    ranked = [entry["chosen_on"] for entry in record["ranked"]]
    assert record["test"]["metric"] == "bleu" and record["bleu"]["examples"] == [6, 6]
    first, second, third = ranked
    assert first["bleu"] > second["bleu"] and third["bleu"] in (None, 3.0)
    assert max(first["loss"], second["loss"]) <= third["loss"]
    page = (out / "search.md").read_text()
    assert "ranked again by BLEU" in page and "Equal texts are in one half." in page


def test_errors_are_one_line_and_leave_nothing(data, classifier, translator, tmp_path):
    other = shutil.copytree(data / "nlu", tmp_path / "other")
    words = (other / "input0" / "dict.txt").read_text().splitlines()
    (other / "input0" / "dict.txt").write_text("\n".join(words[:-1]) + "\n")
    nlu, nmt = [data / "nlu", "--path", classifier], [data / "nmt", "--path", translator]
    for match, words in (
        ("cannot choose 0 layers to keep: the encoder has 4, so keep between 1 and 3", [*nlu, "--keep", 0]),
        ("cannot choose 5 layers to keep: the encoder has 4", [*nlu, "--keep", 5]),
        ("cannot choose 4 layers to keep", [*nlu, "--keep", 4]),
        ("has no decoder: leave out --stack decoder", [*nlu, "--keep", 2, "--stack", "decoder"]),
        ("say --stack encoder or --stack decoder", [*nmt, "--keep", 1]),
        (
            "is for translation, which has no accuracy",
            [*nmt, "--keep", 1, "--stack", "decoder", "--metric", "accuracy"],
        ),
        ("is for classification, which has no bleu", [*nlu, "--keep", 2, "--metric", "bleu"]),
        ("6 subsets of the encoder's 4 layers would take about 1 s", [*nlu, "--keep", 2, "--max-minutes", 1e-9]),
        ("--beam is of --method beam", [*nlu, "--keep", 2, "--beam", 3]),
        ("are of --metric bleu", [*nlu, "--keep", 2, "--bleu-examples", 3]),
        ("examples are too few", [*nlu, "--keep", 2, "--max-examples", 9]),
        ("no split 'other'", [*nlu, "--keep", 2, "--subset", "other"]),
        ("dictionary", [other, *nlu[1:], "--keep", 2]),
        ("does not exist", [data / "nlu", "--path", "none.pt", "--keep", 2]),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["search", *map(str, words), "--cpu", "--out", str(tmp_path / "out")])
        message = str(stopped.value.code)
        assert message.startswith("layerdrop: error: ") and match in message and "\n" not in message
        assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_at_once(tmp_path):
    with held(tmp_path, "search"), pytest.raises(SystemExit, match="is in use: another process is writing search"):
        main(["search", "no data", "--path", "no checkpoint", "--keep", "1", "--out", str(tmp_path)])
