"""`layerdrop ablate`: files, findings, and errors in one line."""

import json

import builders
import checkpoints
import pytest

from layerdrop_plugin import checkpoint
from layerdrop_plugin.cli.main import main
from layerdrop_plugin.output_folder import held
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    return checkpoints.save(tmp_path_factory.mktemp("classifier") / "model.pt", data, "classification")


@pytest.fixture(scope="module")
def translator(data, tmp_path_factory):
    return checkpoints.save(tmp_path_factory.mktemp("translator") / "model.pt", data, "translation")


def test_a_classifier(data, classifier, tmp_path, capsys):
    out = tmp_path / "ablation"
    words = ["ablate", data / "nlu", "--path", classifier, "--out", out, "--cpu", "--max-examples", 20]
    main(list(map(str, words)))
    record = json.loads((out / "ablation.json").read_text())
    assert (record["type"], record["version"], record["mode"], record["task"]) == (
        "layerdrop.ablation", 1, "each", "classification",
    )  # fmt: skip
    assert record["examples"] == 20 and len(record["heads"]) == 4 and record["bleu"] is None
    assert record["checkpoint"]["sha256"] == checkpoint.sha256(classifier)
    assert record["split"] == "test" and record["seed"] == 1 and record["versions"]["torch"]
    page = (out / "ablation.md").read_text()
    printed = capsys.readouterr().out
    for line in ("heads (", "when removed alone", "loss: ", "accuracy: "):
        assert line in printed and line in page
    assert "McNemar's exact test" in page and "encoder self-attention" in page and "Holm" in page
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")

    main([*map(str, words), "--mode", "all-but-one"])  # into the same folder
    again = json.loads((out / "ablation.json").read_text())
    assert again["mode"] == "all-but-one" and sum(entry["best"] for entry in again["heads"]) == 2
    assert again["whole"] == record["whole"] and again["selection"] == {"chosen_on": 10, "tested_on": 10}
    assert "The best heads were chosen by loss on 10 examples, drawn with seed 1" in (out / "ablation.md").read_text()
    # of two heads, keeping one is removing the other
    changes = [{(e["layer"], e["head"]): e["loss"]["change"] for e in found["heads"]} for found in (record, again)]
    assert all(changes[0][layer, head] == changes[1][layer, 1 - head] for layer, head in changes[0])
    assert "of 2 attentions can do with their best single head" in capsys.readouterr().out


def test_a_translation_model(data, translator, tmp_path, capsys):
    words = ["ablate", data / "nmt", "--path", translator, "--out", tmp_path / "out", "--cpu"]
    main(list(map(str, [*words, "--extremes", 1, "--bleu-examples", 4, "--seed", 2])))
    record = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert len(record["heads"]) == 12 and record["summary"]["bleu"]["tests"] == 2 and record["seed"] == 2
    assert {entry["kind"] for entry in record["heads"]} == {
        "encoder.self_attn", "decoder.self_attn", "decoder.encoder_attn",
    }  # fmt: skip
    assert "change of BLEU" in capsys.readouterr().out
    assert "encoder-decoder attention" in (tmp_path / "out" / "ablation.md").read_text()
    main(list(map(str, [*words, "--bleu", "none"])))
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["bleu"] is None


def test_errors_are_one_line_and_leave_nothing(data, classifier, tmp_path, capsys):
    state = checkpoint.read(classifier)
    plan = Plan(StackPlan((0, 1), self_attn={0: (), 1: ()}))
    checkpoint.write(prune(Parent(state), plan).state, tmp_path / "headless.pt")
    good = {"data": data / "nlu", "path": classifier, "out": tmp_path / "out"}
    for match, words in (
        ("does not exist", good | {"path": "none.pt"}),
        ("no split 'other'", good | {"subset": "other"}),
        ("cannot load", good | {"data": data / "nmt"}),
        ("nothing to ablate", good | {"path": tmp_path / "headless.pt"}),
        ("is a file", good | {"out": classifier}),
    ):
        options = [part for name, value in words.items() if name != "data" for part in (f"--{name}", str(value))]
        with pytest.raises(SystemExit) as stopped:
            main(["ablate", str(words["data"]), "--cpu", "--max-examples", "2", *options])
        message = str(stopped.value.code)
        assert message.startswith("layerdrop: error: ") and match in message and "\n" not in message
        assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_at_once(tmp_path):
    with held(tmp_path, "ablation"), pytest.raises(SystemExit, match="is in use: another process is writing ablation"):
        main(["ablate", "no data", "--path", "no checkpoint", "--out", str(tmp_path)])


def test_as_a_command_of_its_own(data, classifier, tmp_path):
    done = builders.run(
        *("layerdrop", "ablate", data / "nlu", "--path", classifier, "--out", tmp_path / "out", "--cpu"),
        *("--max-examples", "4"),
    )
    assert "INFO" not in done.stdout and f"wrote {tmp_path / 'out'}/ablation.json" in done.stdout
    assert builders.run("layerdrop", "ablate", data / "nlu", check=False).returncode != 0
