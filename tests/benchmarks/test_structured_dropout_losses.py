"""The smallest run of the benchmark of structured dropout, and what docs/results.md makes of its record."""

import json
import sys
from pathlib import Path

import builders
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

from writing import markdown, structured_dropout  # noqa: E402


@pytest.fixture
def record(benchmark, data, parent, tmp_path, monkeypatch):
    """The record of two updates of each training."""
    module = benchmark("structured_dropout")
    monkeypatch.setattr(module, "run", lambda command: builders.run(*command))
    out = tmp_path / "structured_dropout.json"
    module.main(
        [str(data / "nlu"), str(parent), "--seeds", "1", "--updates", "2", "--examples", "7", "--out", str(out)]
    )
    return json.loads(out.read_text(encoding="utf-8"))


def test_structured_dropout(record, monkeypatch):
    assert record["command"].endswith(
        "DATA PARENT --rate 0.3 --seeds 1 --updates 2 --lr 0.0005 --classes 2 --examples 7"
    )
    assert [model["dropout"] for model in record["models"]] == ["none", "heads", "FFN units", "sublayers"]
    assert {"python", "torch", "fairseq", "layerdrop_plugin"} <= record["versions"].keys()
    for model in record["models"]:
        losses = torch.tensor([model[column] for column in structured_dropout.MEASURED])
        assert losses.isfinite().all() and len(losses.unique()) == len(losses)
        assert -1 <= model["spearman"] <= 1
    monkeypatch.setattr(structured_dropout, "read", lambda path: record)
    page = "\n".join(structured_dropout.section())
    assert f"| none | {record['models'][0]['whole']:.3f} (" in page
    assert "of 1 seed (" in page and "of 4 models, by" in page
    lower = record["models"][1]["half the heads"] < record["models"][0]["half the heads"]
    assert f"lower than without that dropout for {int(lower)} of 1 seed" in page


def test_without_its_record_the_section_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(markdown, "ROOT", tmp_path)
    with pytest.raises(markdown.Missing):
        structured_dropout.section()
