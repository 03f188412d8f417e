"""Write docs/results.md, and the table of results in README.md: python docs/write_results.py [--check]

Everything comes from the JSON files that recipes left in docs/ and benchmarks in benchmarks/results/. A section whose
file is missing says so. tests/test_results.py fails when the pages are not what this script would write.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from writing import (  # noqa: E402
    benchmarks,
    classification,
    depth,
    heads,
    hostile,
    pretrained,
    structured_dropout,
    translation,
)
from writing.markdown import Missing  # noqa: E402

RESULTS, README = ROOT / "docs" / "results.md", ROOT / "README.md"
SECTIONS = (pretrained, classification, translation, heads, depth, structured_dropout, benchmarks, hostile)
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = """# Results

Written by `python docs/write_results.py` from the JSON files that recipes and benchmarks left; a test checks that they
agree. Under each table stand seeds, versions and data hashes; the linked pages have the checkpoints' hashes and every
command. But for the first section these are small models, trained for minutes: they show that everything works and what
it saves, and they are no evidence about models of the papers' size.
"""


def results() -> str:
    """The page docs/results.md."""
    parts = [HEAD.rstrip()]
    for module in SECTIONS:
        parts.append(f"## {module.TITLE}")
        try:
            parts += [f"`{module.COMMAND}`", *module.section()]
        except Missing as missing:
            parts[-1:] = [parts[-1], f"Left out: {missing} is not there. `{module.COMMAND}` makes it."]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme(page: str) -> str:
    """The README *page* with its table of results made anew."""
    try:
        found = pretrained.summary()
    except Missing as missing:
        found = f"No table: {missing} is not there."
    return BLOCK.sub(lambda match: f"{match[1]}\n{found}\n\n{match[2]}", page)


def main() -> None:
    """Rewrite both pages, or with --check say whether that would change them."""
    made = {RESULTS: results(), README: readme(README.read_text(encoding="utf-8"))}
    if "--check" in sys.argv[1:]:
        sys.exit(any(not path.is_file() or path.read_text(encoding="utf-8") != text for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
