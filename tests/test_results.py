"""docs/results.md and the README's table say what the JSON files say that recipes and benchmarks left."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import write_results  # noqa: E402
from writing import markdown  # noqa: E402


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A copy of the JSON files, which a test may change."""
    for file in [*ROOT.glob("docs/**/*.json"), *ROOT.glob("benchmarks/results/*.json")]:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    monkeypatch.setattr(markdown, "ROOT", tmp_path)
    return tmp_path


def rewrite(file, change):
    """Change a JSON file in place."""
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")


def test_the_pages_are_what_the_script_would_write():
    reason = "run  python docs/write_results.py"
    assert write_results.RESULTS.read_text(encoding="utf-8") == write_results.results(), reason
    page = write_results.README.read_text(encoding="utf-8")
    assert write_results.readme(page) == page, reason


def test_the_readmes_numbers_are_the_reports():
    report = json.loads((ROOT / "docs/four_layer_bert/chinese/report.json").read_text(encoding="utf-8"))
    page = write_results.README.read_text(encoding="utf-8")
    for row in report["rows"][:1]:
        line = next(line for line in page.splitlines() if line.startswith(f"| {row['name']} |"))
        assert f"| {row['parameters']:,} |" in line
        assert f"| {row['metric']:.1f}" in line


@pytest.mark.parametrize("section", ["quickstart", "translate", "compare", "heads"])
def test_a_section_without_its_json_says_so(section, elsewhere):
    shutil.rmtree(elsewhere / "docs" / section)
    page = write_results.results()
    assert len(re.findall(rf"^Left out: docs/{section}/\S+ is not there\. `bash recipes/\S+", page, re.MULTILINE)) == 1
    assert page.count("\n## ") == len(write_results.SECTIONS)


def test_without_benchmarks_the_page_says_so(elsewhere):
    shutil.rmtree(elsewhere / "benchmarks" / "results")
    assert "Left out: benchmarks/results/generate.json is not there" in write_results.results()


def test_a_benchmark_of_its_kind_that_is_missing_is_named(elsewhere):
    (elsewhere / "benchmarks/results/importance.json").unlink()
    assert "No result of `benchmarks/importance.py` is kept" in write_results.results()


def test_other_values_rows_and_spreads_are_written_as_they_are(elsewhere):
    def change(report):
        for row in report["rows"]:
            row["new"] = 1
        child = next(row for row in report["rows"] if row["name"] == "child")
        child |= {"metric": 60.0, "low": 59.0, "high": 61.0, "seeds": [1, 2], "relative_time": 0.4}
        child["spread"] = {"rounds": [0.3, 0.4, 0.9], "least": 0.3, "greatest": 0.9, "unreliable": True}
        report["rows"].append(child | {"name": "another child", "spread": None})

    rewrite(elsewhere / "docs/quickstart/report.json", change)
    page = write_results.results()
    assert "0.40 (0.30 to 0.90) **unreliable** | 60.0 (59.0 to 61.0)" in page
    assert "| another child |" in page
    assert "below its parent's, outside the parent's 95 % interval" in page
    assert "no accuracy that this test set can show" not in page


def test_a_goal_that_is_missed_is_bold(elsewhere):
    def change(record):
        record["models"]["whole"]["speed"] = {"median": 0.5, "min": 0.4, "max": 0.6}

    rewrite(elsewhere / "benchmarks/results/generate.json", change)
    assert "**0.50 (0.40 to 0.60)**; goal ≥ 1.4" in write_results.results()


def test_two_results_of_one_benchmark_stand_beside_each_other(elsewhere):
    folder = elsewhere / "benchmarks/results"
    shutil.copy(folder / "importance.json", folder / "importance_again.json")
    page = write_results.results()
    assert re.search(r"\| time of \| [^|]*\(importance\.json\) \| [^|]*\(importance_again\.json\) \|", page)
    rewrite(folder / "importance_again.json", lambda record: record.update(device="cuda", device_name="a GPU"))
    assert re.search(r"\| time of \| [^|(]* \| a GPU \|", write_results.results())


def test_heads_with_a_report_have_a_table(elsewhere):
    row = {"name": "parent", "heads": 24, "ffn_units": 3072, "parameters": 5, "metric": 75.0, "relative_time": 0.5}
    result = {"examples": 7, "split": "test", "data_sha256": "0" * 64}
    report = {"rows": [row], "results": [result], "latency": {"batch_sizes": [1, 32], "threads": 2, "cpu": "CPU"}}
    (elsewhere / "docs/heads/classifier/report.json").write_text(json.dumps(report), encoding="utf-8")
    page = write_results.results()
    assert "| parent | 24 | 3,072 | 5 | 75.0 |  | 2.00 |" in page
    assert "speed at batch 32, 2 threads of CPU" in page


@pytest.mark.parametrize("name", ["README.md", "DEVELOPERS.md", "docs/reference.md", "docs/results.md"])
def test_links_and_files_that_are_named_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    linked = [link.split("#")[0] for link in re.findall(r"\]\(((?!https?:)[^)]*)\)", text)]
    assert [link for link in linked if link and not ((ROOT / name).parent / link).exists()] == []
    named = re.findall(r"`((?:recipes|tests|benchmarks|docs)/[\w/.-]+\.(?:py|sh|md|json))`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
