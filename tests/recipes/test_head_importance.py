"""Which heads matter, and models without the others: on slices of the real data, with real commands."""

import json
import re

import pytest

from layerdrop_plugin.cli.inspect import describe

from .conftest import fails, succeeds

pytestmark = pytest.mark.recipe

STUDIED = ["classifier", "translation"]
NAMES = ["parent", "without 0.5 of the heads", "without 0.5 of the heads and 0.5 of the FFN"]
NAMES.append(f"{NAMES[2]}, fine-tuned")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def command(world, downloads):
    """The recipe's arguments but for its folders: the quick start's classifier; a translation model is made."""
    given = [
        "--classifier",
        world / "finetuned/parent-1/checkpoint_best.pt",
        "--classifier-data",
        world / "data/reviews",
    ]
    return ["head_importance.sh", "--tiny-slice", *given, "--downloads", downloads]


@pytest.fixture(scope="module")
def studied(once, command):
    """The folder that head_importance.sh leaves, spaces in its name; `studied / "log"` is what it printed."""
    return once("which heads", lambda out: succeeds(*command, "--out", "he ads", "--translate", "trans late", cwd=out))


@pytest.mark.parametrize("kind", STUDIED)
def test_it_leaves_scores_ablations_curves_children_and_a_report(studied, kind):
    folder = studied / "he ads" / kind
    scores = read(folder / "importance.json")
    assert scores["method"] == "importance"
    assert scores["examples"] == 20
    for mode in ("each", "all-but-one"):
        ablation = read(folder / mode / "ablation.json")
        assert ablation["mode"] == mode
        assert ablation["split"] == "test"
        assert ("bleu" in ablation["summary"]) == (kind == "translation")
    for part in ("heads", "ffn"):
        curve = read(folder / f"curve-{part}" / "curve.json")
        assert curve["settings"]["what"] == part
        assert curve["split"] == "valid"
        assert {point["method"] for point in curve["points"]} >= {"importance", "magnitude", "random"}
    rows = {row["name"]: row for row in read(folder / "report.json")["rows"]}
    assert list(rows) == NAMES
    parent, heads, both, tuned = rows.values()
    assert heads["heads"] == both["heads"] == tuned["heads"] == parent["heads"] / 2
    assert heads["ffn_units"] == parent["ffn_units"] == 2 * both["ffn_units"] == 2 * tuned["ffn_units"]
    assert parent["parameters"] > heads["parameters"] > both["parameters"] == tuned["parameters"]


def test_one_page_shows_all_of_it(studied):
    page = (studied / "he ads/report.md").read_text(encoding="utf-8")
    for kind in STUDIED:
        pictures = re.findall(rf"\]\(({kind}/[\w./-]+\.png)\)", page)
        assert len(pictures) == 5
        for picture in pictures:
            assert (studied / "he ads" / picture).stat().st_size > 500
    for name in NAMES:
        assert len(re.findall(rf"^\| {re.escape(name)} +\|", page, re.M)) == 2
    assert page.count("change it significantly when removed alone") == 4  # loss, accuracy; loss, BLEU
    log = (studied / "log").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^\[(\d+)/18\]", log, re.M)] == list(range(1, 19))
    for command in ("importance", "ablate", "pruning-curve", "prune", "evaluate", "latency", "report"):
        assert f"+ layerdrop {command} " in log


@pytest.mark.parametrize(("kind", "family"), [("classifier", "roberta"), ("translation", "transformer")])
def test_children_name_our_model_and_load(studied, kind, family):
    folder = studied / "he ads" / kind
    for child in ("half-both/child.pt", "finetuned/checkpoint_best.pt"):
        described = describe(folder / child)
        assert described["architecture"] == f"layerdrop_{family}"


def test_again_it_does_nothing(studied, command):
    files = {path: path.stat().st_mtime_ns for path in studied.rglob("*.pt")}
    log = succeeds(*command, "--out", "he ads", "--translate", "trans late", cwd=studied)
    assert files == {path: path.stat().st_mtime_ns for path in studied.rglob("*.pt")}
    # Of each: scores, 2 ablations, 2 curves, 2 children, fine-tuning, timing. Evaluations: 1 and 4. Pairs, a parent.
    assert log.count("[done before]") == 2 * 9 + 1 + 4 + 2
    assert re.findall(r"^\+ ((?:layerdrop|fairseq)\S* \S+)", log, re.M) == ["layerdrop report"] * 2


def test_bad_input_is_refused_at_once(world, tmp_path):
    model, data = world / "finetuned/parent-1/checkpoint_best.pt", world / "data/reviews"
    out = ["--out", tmp_path / "out"]
    assert "choose classifier or translation" in fails("head_importance.sh", "--only", "everything", *out)
    assert "go together" in fails("head_importance.sh", "--classifier", model, *out)
    assert "go together" in fails("head_importance.sh", "--translation-data", data, *out)
    gone = ["--classifier", tmp_path / "gone.pt", "--classifier-data", data]
    assert "gone.pt: no such file" in fails("head_importance.sh", *gone, *out)
    gone = ["--classifier", model, "--classifier-data", tmp_path / "gone"]
    assert "gone: no such folder" in fails("head_importance.sh", *gone, *out)
    assert "--seed x" in fails("head_importance.sh", "--seed", "x", *out)
    assert "unknown argument --no-such-option" in fails("head_importance.sh", "--no-such-option", *out)
    assert list(tmp_path.iterdir()) == []
