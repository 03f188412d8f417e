"""LibreOffice's help in two languages to line-aligned text: help.LANGUAGE for each, and `groups`, a name for each pair.

A paragraph has the same id in the same file of every language. Pairs of a group differ in nothing but digits, case and
punctuation of the English side.
"""

import argparse
import re
from html.parser import HTMLParser
from pathlib import Path

from download import newest, sha256
from textfile import fail, read_lines, tidy, write_splits

WORDS = range(3, 61)  # of the English side
# A paragraph or a heading with its id; neither can hold another one.
PARAGRAPH = re.compile(r"<(p|h[1-6])\b(?=[^>]*\bid=\"((?:par|hd)_id[^\"]*)\")([^>]*)>(.*?)</\1>", re.DOTALL)
CODE = re.compile(r'class="[^"]*code')
# Elements that end no word, wherever they stand; all others do, such as <br> and a cell of a table.
INLINE = {"a", "abbr", "b", "bdi", "em", "i", "kbd", "s", "samp", "small", "span", "strong", "sub", "sup", "tt", "u"}
VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}  # elements without an end


class VisibleText(HTMLParser):
    """The text of a paragraph; of what differs between systems, such as keys, the default."""

    def __init__(self, markup):
        super().__init__(convert_charrefs=True)
        self._pieces, self._open = [], []  # of each open element: its name, and whether it hides its contents
        self.feed(markup)
        self.close()

    def __str__(self):
        return tidy("".join(self._pieces))

    def handle_starttag(self, tag, attrs):
        self._part(tag)
        if tag not in VOID:
            found = dict(attrs)
            self._open.append((tag, "hidden" in found and not (found.get("id") or "").startswith("default")))

    def handle_startendtag(self, tag, attrs):
        self._part(tag)

    def handle_endtag(self, tag):
        self._part(tag)
        if tag in (name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass  # an element whose own end is missing

    def handle_data(self, data):
        if not any(hidden for _, hidden in self._open):
            self._pieces.append(data)

    def _part(self, tag):
        if tag not in INLINE:
            self._pieces.append(" ")


def paragraphs(page):
    """{id: text} of the paragraphs and headings of a page's HTML, without code; of those with one id the first."""
    found = {}
    for _, name, attributes, markup in PARAGRAPH.findall(page):
        if not CODE.search(attributes):
            found.setdefault(name, str(VisibleText(markup)) if re.search("[<&]", markup) else tidy(markup))
    return found


def read_page(path):
    """As :func:`paragraphs`, of a file."""
    return paragraphs("\n".join(line for _, line in read_lines(path)))


def pages(folder):
    """{path below `text`: file} of the pages of an unpacked package; exits unless it has them in one language."""
    found = [place for place in Path(folder).glob("usr/share/libreoffice/help/*/text") if place.is_dir()]
    if len(found) != 1:
        fail(f"{folder}: help in {len(found)} languages, not in one; is it a package libreoffice-help-LANGUAGE?")
    return {str(path.relative_to(found[0])): path for path in sorted(found[0].rglob("*.html"))}


def similar(text):
    """What near-repeats have in common: the text without digits, case and punctuation."""
    return tidy(re.sub(r"[\W\d_]+", " ", text.casefold()))


def pairs_of(english, other):
    """Distinct pairs of translated paragraphs, in the order of the files.

    Args:
        english, other (dict[str, Path]): as of :func:`pages`.

    Returns:
        tuple[list[tuple[str, str]], dict[str, int]]: pairs (English text, text of the other language), and how many
        paragraphs were left out for what reason.
    """
    found, dropped = {}, {"not translated": 0, "of another length": 0, "repeated": 0}
    for name in filter(other.__contains__, english):
        translations = read_page(other[name])
        for key, text in read_page(english[name]).items():
            translation = translations.get(key)
            if not text or not translation:
                continue
            if text == translation:
                dropped["not translated"] += 1
            elif len(text.split()) not in WORDS or not similar(text):
                dropped["of another length"] += 1
            elif (text, translation) in found:
                dropped["repeated"] += 1
            else:
                found[text, translation] = None
    return list(found), dropped


def about(unpacked, downloads):
    """The lines of the file that says where the text is from: packages, their checksums, licence and copyright.

    Args:
        unpacked (list[str]): folders of unpacked packages, called as these are.
        downloads (str): folder with the packages themselves.
    """
    lines = [
        "Paragraphs of the help of LibreOffice (https://help.libreoffice.org), extracted and paired by their ids.",
        "Licence: Mozilla Public License 2.0 (https://mozilla.org/MPL/2.0/), as the packages' copyright file says.",
        "",
    ]
    for folder in map(Path, unpacked):
        package = newest(Path(downloads), f"{folder.name}_*.deb")
        lines.append(f"{package.name}, sha256 {sha256(package)}")
    copyright_file = folder / "usr/share/doc" / folder.name / "copyright"
    lines += ["", f"The file {copyright_file.relative_to(folder)} of {folder.name}:", ""]
    return lines + [line for _, line in read_lines(copyright_file)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("english", metavar="EN", help="folder of the unpacked package libreoffice-help-en-us")
    parser.add_argument("other", metavar="OTHER", help="folder of that of the other language")
    parser.add_argument(
        "--language", required=True, metavar="LANG", help="name of the other language in names of files"
    )
    parser.add_argument("--downloads", required=True, metavar="DIR", help="folder with the packages")
    parser.add_argument("--out", required=True, metavar="DIR", help="existing folder to write to")
    args = parser.parse_args()

    pairs, dropped = pairs_of(pages(args.english), pages(args.other))
    if not pairs:
        fail(f"{args.english} and {args.other} have no paragraphs in common")
    groups = [similar(text) for text, _ in pairs]
    sides = zip(*pairs, strict=True)
    files = {f"help.{language}": list(side) for language, side in zip(("en", args.language), sides, strict=True)}
    origin = about([args.english, args.other], args.downloads)
    write_splits(args.out, files | {"groups": groups, "ABOUT": origin})
    print(f"{len(pairs)} distinct pairs of {WORDS[0]} to {WORDS[-1]} English words, {len(set(groups))} groups")
    print("left out: " + ", ".join(f"{count} {why}" for why, count in dropped.items()))
    print(f"{sum(len(text.split()) for text, _ in pairs)} English words")


if __name__ == "__main__":
    main()
