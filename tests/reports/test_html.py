"""Pages as HTML: whatever text comes from data is text, columns are sorted by their numbers, nothing is loaded."""

import base64
import hashlib
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from layerdrop_plugin.reports.html import Shown, document, inline, sort_values
from layerdrop_plugin.reports.page import Page, Section, Table

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=http://127.0.0.1/x onerror=alert(2)> ![x](http://127.0.0.1/y) {{ 7 * 7 }}"
)
PICTURE = b"\x89PNG"


class Parsed(HTMLParser):
    """The tags, with their attributes, and the texts of a document."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._inside = [], {}, ""
        self.feed(str(text))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        for tag in {"", self._inside}:
            self.texts[tag] = self.texts.get(tag, "") + data


def page(text=HOSTILE, **changes):
    table = Table([text, "value"], [[text, "1.5"], [f"{text} ({text})", "-"]])
    lines = [text, f"`{text}`", f"**{text}**"]
    section = Section(text, table, lines, text)
    parts = {"name": "report", "title": text, "table": table, "notes": lines, "findings": lines, "provenance": lines}
    return Page(**parts | {"more": [section], "figure": None, "caption": text, "record": {}} | changes)


@pytest.mark.parametrize("pages", [1, 2])
def test_what_comes_from_data_is_text(pages):
    text = document(HOSTILE, [Shown(page(), PICTURE, HOSTILE)] * pages)
    found = Parsed(text)
    assert [tag for tag, _ in found.tags].count("script") == 1 and "alert" not in found.texts["script"]
    pictures = [attributes for tag, attributes in found.tags if tag == "img"]
    assert pictures == [{"src": f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}", "alt": HOSTILE}] * pages
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    addresses = [attributes[name] for _, attributes in found.tags for name in ("src", "href") if name in attributes]
    assert all(address.startswith(("data:", "#page-")) for address in addresses)
    assert found.texts[""].count(HOSTILE) > 15 * pages


def test_only_its_own_script_and_style_may_run_and_nothing_may_be_loaded():
    found = Parsed(document("Title", [Shown(page("text"), None)]))
    (policy,) = [attributes["content"] for _, attributes in found.tags if "http-equiv" in attributes]
    rules = dict(rule.split(" ") for rule in policy.split("; "))
    hashes = {
        tag: base64.b64encode(hashlib.sha256(found.texts[tag].encode()).digest()).decode()
        for tag in ("style", "script")
    }
    own = {f"{tag}-src": f"'sha256-{digest}'" for tag, digest in hashes.items()}
    assert rules == {"default-src": "'none'", "img-src": "data:"} | own
    assert "figure" not in [tag for tag, _ in found.tags]


@given(st.text(st.sampled_from("ab<&`*\"' ")))
@example("`a")
@example("**`a`** `b` `")
def test_code_and_bold_are_the_only_marks(text):
    found = Parsed(inline(text))
    assert {tag for tag, _ in found.tags} <= {"code", "strong"}
    plain, shown = (said.translate({ord("`"): None, ord("*"): None}) for said in (text, found.texts.get("", "")))
    assert plain == shown


def test_marks():
    assert inline("**a** of `b < c` **d") == "<strong>a</strong> of <code>b &lt; c</code> **d"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["6,000", "1,411,316", "12"], [6000, 1411316, 12]),
        (["75.4 (3 seeds: 75.0 to 75.8)", "-", "0.53 (0.51 to 0.65, unreliable)"], [75.4, None, 0.53]),
        (["-0.0207*", "+0.13", "1e-05", "8%", ""], [-0.0207, 0.13, 1e-5, 8, None]),
        (["73.2 to 77.4", "6 (whole)"], [73.2, 6]),
        (["1,3,5", "0,2"], [None, None]),  # layers
        (["0.2.0", "1"], [None, None]),
        (["parent", "1"], [None, None]),
        (["-", "-"], [None, None]),
    ],
)
def test_columns_are_sorted_by_the_numbers_that_their_cells_begin_with(cells, values):
    assert sort_values(cells) == values
