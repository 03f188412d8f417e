"""The page at the end of head_importance.sh: what it says of speeds."""

import importlib.util

import pytest

from layerdrop_plugin.evaluation import rounds

from .conftest import RECIPES

SIZES = {"heads": 12, "ffn_units": 1536, "parameters": 1000}


@pytest.fixture(scope="module")
def heads_page():
    spec = importlib.util.spec_from_file_location("heads_page", RECIPES / "lib" / "heads_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_speeds_say_how_far_their_rounds_agree(heads_page):
    base = {"name": "parent", **SIZES, "metric": 75.0, "relative_time": 1.0, "spread": None}
    child = base | {"name": "child", "relative_time": 0.5, "spread": rounds.spread([0.4, 0.5, 0.625])}
    translator = {"name": "fast", **SIZES, "metric": 10.0, "loss": 3.0, "speed": 2.0}
    translator["spread"] = rounds.spread([1.9, 2.0, 2.1])
    old = {name: value for name, value in translator.items() if name != "spread"}
    found = heads_page.cells({"rows": [base, child, translator, old]})
    assert [row[5] for row in found] == ["1.00", "2.00 (1.60 to 2.50, unreliable)", "2.00 (1.90 to 2.10)", "2.00"]
    assert found[1][:5] == ["child", "12", "1,536", "1,000", "accuracy 75.0 %"]
    assert found[2][4] == "BLEU 10.0, loss 3.000"
