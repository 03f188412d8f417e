"""`layerdrop report`: results make a page, runs make one HTML file, and never both."""

import builders
import pytest
from samples import accuracy_result, save


def layerdrop_report(*arguments):
    """Status, and what is printed without fairseq's log."""
    made = builders.run("layerdrop", "report", *arguments, check=False)
    return made.returncode, made.stdout.strip().splitlines()


def test_results_make_a_page_and_its_folder_makes_a_larger_one(tmp_path):
    for name in ("first", "second"):
        results = save(tmp_path / f"{name} results", accuracy_result(name, 1, 70.0))
        assert layerdrop_report("--results", results, "--out", tmp_path / name)[0] == 0
    status, printed = layerdrop_report(tmp_path / "first", tmp_path / "second", "--out", tmp_path / "both")
    files = [f"{tmp_path}/{name}/report.json" for name in ("first", "second")]
    assert status == 0 and printed == [*files, f"2 pages in {tmp_path}/both/report.html"]
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name finished runs, or results with --results: one of both"),
        (["run", "--results", "x"], "name finished runs, or results with --results: one of both"),
        (["run", "--times", "x"], "--latency and --times belong to --results: runs have their own"),
        (["run"], "cannot read the result run: No such file or directory"),
    ],
)
def test_wrong_calls_are_one_line_and_write_nothing(tmp_path, arguments, message):
    status, printed = layerdrop_report(*arguments, "--out", tmp_path / "out")
    assert status == 1 and message in printed[-1] and not (tmp_path / "out").exists()
