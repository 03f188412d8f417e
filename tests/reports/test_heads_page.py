"""The page at the end of head_importance.sh: what it says of speeds, and that files of version 0.1.0 are read."""

import json
import shutil
from pathlib import Path

import pytest

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import rounds
from layerdrop_plugin.reports import heads

DOCS = Path(__file__).parents[2] / "docs"
SIZES = {"heads": 12, "ffn_units": 1536, "parameters": 1000}


def test_speeds_say_how_far_their_rounds_agree():
    base = {"name": "parent", **SIZES, "metric": 75.0, "relative_time": 1.0, "spread": None}
    child = base | {"name": "child", "relative_time": 0.5, "spread": rounds.spread([0.4, 0.5, 0.625])}
    translator = {"name": "fast", **SIZES, "metric": 10.0, "loss": 3.0, "speed": 2.0}
    translator["spread"] = rounds.spread([1.9, 2.0, 2.1])
    old = {name: value for name, value in translator.items() if name != "spread"}
    found = heads.table_of({"rows": [base, child, translator, old]}).cells
    assert [row[5] for row in found] == ["1.00", "2.00 (1.60 to 2.50, unreliable)", "2.00 (1.90 to 2.10)", "2.00"]
    assert found[1][:5] == ["child", "12", "1,536", "1,000", "accuracy 75.0 %"]
    assert found[2][4] == "BLEU 10.0, loss 3.000"


def test_the_page_of_files_that_version_0_1_0_left(tmp_path):
    folder = tmp_path / "heads"
    shutil.copytree(DOCS / "heads", folder, ignore=shutil.ignore_patterns("*.md"))
    for kind, measured in (("classifier", {"relative_time": 1.0}), ("translation", {"speed": 1.0, "loss": 3.0})):
        row = {"name": "parent", **SIZES, "metric": 75.0, **measured}
        (folder / kind / "report.json").write_text(json.dumps({"rows": [row]}))
        curve = json.loads((folder / kind / "curve-heads" / "curve.json").read_text())
        curve["settings"]["what"] = "ffn"
        (folder / kind / "curve-ffn").mkdir(exist_ok=True)
        (folder / kind / "curve-ffn" / "curve.json").write_text(json.dumps(curve))
        shutil.copy(folder / kind / "curve-heads" / "curve.png", folder / kind / "curve-ffn")
    printed = heads.write(folder, ["classifier", "translation"])
    page = (folder / "report.md").read_text()
    assert page.startswith(f"# {heads.TITLE}\n") and "## Translation" in page
    assert "![heads removed step by step](translation/curve-heads/curve.png)" in page
    for line in (
        "loss: 23 of 24 heads (96%) change it significantly when removed alone",
        "BLEU: the share of FFN units that can go within 1 point of BLEU: ",
        "loss: the share of heads that can go within 0.1 nats per token: ",
    ):
        assert line in printed and f"- {line}" in page
    pages = (folder / "report.html").read_text()
    assert f"<title>{heads.TITLE}</title>" in pages and pages.count("<article") == 8
    (folder / "translation" / "each" / "ablation.json").unlink()
    with pytest.raises(LayerdropError, match="cannot read .*each/ablation.json"):
        heads.write(folder, ["translation"])
