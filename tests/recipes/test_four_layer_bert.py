"""four_layer_bert.sh from a Hugging Face folder and labelled sentences to its page."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import RECIPES, fails, succeeds

MODEL = Path(__file__).parents[1] / "interop" / "references" / "bert"


def children(*arguments):
    """The rows of lib/bert_children.py, split into fields."""
    command = [sys.executable, RECIPES / "lib" / "bert_children.py", *map(str, arguments)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in printed.splitlines()]


@pytest.mark.parametrize(("layers", "compared"), [(12, 4), (6, 3), (24, 4), (4, 2)])
def test_one_depth_is_compared_in_most_ways(layers, compared):
    rows = children(layers, 6, 4, 3, 2)
    assert {row[3] for row in rows if row[4] == "distilled"} == {f"spread:{compared}"}
    assert [row[0] for row in rows[:2]] == ["parent", "parent with LayerDrop"]
    assert len({row[1] for row in rows}) == len(rows)  # a folder each
    assert all(int(row[3].split(":")[1]) < layers for row in rows[2:] if not row[3].startswith("every-other"))


def test_only_smaller_models_are_children():
    done = subprocess.run(
        [sys.executable, RECIPES / "lib" / "bert_children.py", "2", "2", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode and done.stderr == "the model has 2 layers: name a smaller number of them\n"


@pytest.mark.recipe
def test_from_a_hugging_face_folder_to_a_page_of_children(tmp_path):
    words = ["the", "service", "was", "good", "好", "不", "这", "家"]
    chosen = random.Random(1)
    rows = {" ".join(chosen.choices(words, k=6)) for _ in range(90)}
    table = tmp_path / "labelled sentences.tsv"
    table.write_text(
        "sentence\tlabel\n" + "".join(f"{row}\t{int('good' in row)}\n" for row in sorted(rows)), encoding="utf-8"
    )
    out = tmp_path / "four layers"
    command = ("four_layer_bert.sh", "--model", MODEL, "--split", table, "--out", out, "--tiny-slice")
    succeeds(*command, BERT_DEPTHS="1")
    page = json.loads((out / "report.json").read_text(encoding="utf-8"))
    found = {row["name"]: row for row in page["rows"]}
    assert {name for name in found if name != "parent"} >= {
        "parent with LayerDrop",
        "1 even",
        "1 first",
        "1 spread, distilled",
        *(
            f"{name}, {form}"
            for name in ("parent", "1 spread", "1 spread, distilled")
            for form in ("ONNX", "ONNX int8")
        ),
    }
    exact, small = found["parent, ONNX"], found["parent, ONNX int8"]
    assert exact["metric"] == found["parent"]["metric"] and small["weight_bytes"] < exact["weight_bytes"]
    assert (out / "trained" / "1" / "1-distilled" / "huggingface" / "import.json").is_file()
    assert found["1 even"]["layers"] == 1 and found["1 even"]["parameters"] < found["parent"]["parameters"]
    assert (out / "report.png").is_file()
    again = succeeds(*command, BERT_DEPTHS="1")
    assert "fairseq-train" not in again and again.count("[done before]") > len(found)


def test_a_model_or_a_demo_is_needed():
    assert "--demo, or --model with --split or --train, is required" in fails("four_layer_bert.sh")
    assert "choose english or chinese" in fails("four_layer_bert.sh", "--demo", "french")
