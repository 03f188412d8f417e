"""compare_strategies.sh: its list of strategies, and all of it on a toy slice."""

import json
import subprocess
import sys

import pytest

from .conftest import RECIPES, fails, succeeds
from .test_four_layer_bert import MODEL, labelled_sentences


def strategies(*arguments):
    """The rows of lib/strategies.py, split into fields."""
    command = [sys.executable, RECIPES / "lib" / "strategies.py", *map(str, arguments)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in printed.splitlines()]


@pytest.mark.parametrize(("layers", "depths"), [(6, (4, 3)), (12, (6, 4)), (2, (1, 2))])
def test_rules_keep_as_many_layers_as_their_group_says(layers, depths):
    from layerdrop_plugin.pruning.layer_rules import stack_plan
    from layerdrop_plugin.pruning.shape import StackShape

    rows = strategies(layers, "parent", *depths)
    shape = StackShape(layers=layers, embed_dim=8, heads=2, ffn=16)
    plans = {}
    for group, strategy, cost, treatments, options in rows:
        if options.startswith("--layers") and "@" not in options:
            kept = stack_plan(options.split()[1], shape, "encoder").layers
            assert group == f"{len(kept)} of {layers} layers" and int(cost) == len(kept)
            assert treatments == "as cut,reconstructed,fine-tuned"
            plans[strategy, len(kept)] = kept
    for depth in {depth for depth in depths if depth < layers and layers % depth == 0}:
        both = [
            stack_plan(f"every-other{form}:{layers - depth}/{layers}", shape, "encoder").layers
            for form in ("", "-from-1")
        ]
        assert [plans["even, every-other", depth], plans["every-other-from-1", depth]] == both
    methods = [row[1].rpartition(" ")[2] for row in rows if "--heads" in row[4]]
    assert methods == ["importance", "fisher", "magnitude", "random"] and "--budget flops:0.5" in rows[-1][4]


def test_learned_rates_are_compared_with_even_layers():
    assert [row[1] for row in strategies(6, "learned", 3)] == ["even, every-other", "learned"]


@pytest.mark.recipe
def test_every_strategy_ends_on_one_page(tmp_path):
    table, out = labelled_sentences(tmp_path), tmp_path / "all strategies"
    command = ("compare_strategies.sh", "--model", MODEL, "--split", table, "--out", out, "--tiny-slice")
    succeeds(*command, BERT_DEPTHS="1")
    page = json.loads((out / "strategies.json").read_text(encoding="utf-8"))
    assert list(page["parents"]) == ["without LayerDrop"]
    listed = strategies(2, "parent", 1)
    assert [(row["group"], row["strategy"]) for row in page["rows"]] == [tuple(row[:2]) for row in listed]
    assert all(",".join(row["treatments"]) == fields[3] for row, fields in zip(page["rows"], listed, strict=True))
    kept = {row["strategy"]: row["kept"] for row in page["rows"] if row["parent"] == "without LayerDrop"}
    assert (kept["even, every-other"], kept["first"]) == ([1], [0])
    assert page["tests"] and (out / "strategies.html").is_file() and (out / "strategies.png").is_file()
    again = succeeds(*command, BERT_DEPTHS="1")
    assert "fairseq-train" not in again and "+ layerdrop prune" not in again


def test_a_model_or_a_demo_is_needed():
    assert "--demo, or --model with --split or --train, is required" in fails("compare_strategies.sh")
