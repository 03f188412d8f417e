"""Pages in a real browser, without a window: they load nothing, complain of nothing, and their tables sort."""

from pathlib import Path

import pytest
from browser import PROGRAM, browser
from samples import accuracy_result, save

from layerdrop_plugin.reports import gather, report

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = [
    pytest.mark.recipe,
    pytest.mark.skipif(not PROGRAM, reason="needs Debian's chromium: apt-get install chromium"),
]
NAMES = ["<script>document.title = 'run'</script>", "<img src=http://127.0.0.1:9/x>", "plain", "last"]
VALUES = [8.5, 70.0, 10.25, 9.0]
COLUMN = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[{}].textContent)"
CLICK = "document.querySelectorAll('th button')[{}].click()"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def load(tab, path):
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(path.as_uri())


def nothing_was_loaded(tab, path):
    return [url for url in tab.requests if not url.startswith("data:")] == [path.as_uri()] and not tab.complaints


def test_a_page_sorts_and_shows_data_as_text(tab, tmp_path):
    results = [accuracy_result(name, 1, value) for name, value in zip(NAMES, VALUES, strict=True)]
    page = report.page_of(report.record_of([save(tmp_path / "results", *results)], title=NAMES[0]))
    page.write(tmp_path)
    load(tab, tmp_path / "report.html")
    assert tab.value(COLUMN.format(0)) == NAMES and tab.value("document.title") == NAMES[0]
    heads = tab.value("[...document.querySelectorAll('th')].map((head) => head.textContent)")
    accuracy = heads.index("accuracy (%)")
    for order, expected in [
        ("ascending", [8.5, 9.0, 10.25, 70.0]),
        ("descending", [70.0, 10.25, 9.0, 8.5]),
        (None, VALUES),
    ]:
        tab.value(CLICK.format(accuracy))
        found = [float(cell.split(" ")[0]) for cell in tab.value(COLUMN.format(accuracy))]
        assert found == [round(value, 1) for value in expected]
        assert tab.value(f"document.querySelectorAll('th')[{accuracy}].getAttribute('aria-sort')") == order
    tab.value(CLICK.format(0))
    assert tab.value(COLUMN.format(0)) == [NAMES[1], NAMES[0], "last", "plain"]
    assert tab.value("document.querySelector('figure img').naturalWidth") > 1000
    assert nothing_was_loaded(tab, tmp_path / "report.html")


def test_gathered_pages_fit_a_narrow_screen(tab, tmp_path):
    gather.write([DOCS / "quickstart", DOCS / "heads" / "translation"], tmp_path)
    tab.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
    load(tab, tmp_path / "report.html")
    assert tab.value("document.documentElement.scrollWidth") <= 400  # wide tables scroll by themselves
    assert tab.value("document.querySelectorAll('article').length") == 4
    targets = "[...document.querySelectorAll('nav a')].every((link) => document.querySelector(link.hash))"
    assert tab.value(targets) is True
    assert nothing_was_loaded(tab, tmp_path / "report.html")


def test_a_page_is_whole_without_javascript(tab, tmp_path):
    gather.write([DOCS / "quickstart"], tmp_path)
    tab.call("Emulation.clearDeviceMetricsOverride")
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    load(tab, tmp_path / "report.html")
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.value("document.querySelectorAll('th button').length") == 0
    assert tab.value("document.querySelectorAll('tbody tr').length") > 4
    assert "75.8" in tab.value("document.body.innerText")
    assert nothing_was_loaded(tab, tmp_path / "report.html")
