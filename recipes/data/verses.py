"""Two SWORD Bibles to line-aligned text: verses.LANGUAGE for each, and the chapter of every verse in `chapters`."""

import argparse
import functools
import html
import re

from textfile import fail, tidy, write_splits

BIBLES = {"en": "engWEB2015eb", "es": "spaRV1909eb"}  # language -> module

# Elements that are no part of the verse; a psalm's own title (canonical) is one, in either language.
ASIDE = re.compile(r'<(note|speaker|title)\b(?![^>]*canonical="true")[^>]*(?<!/)>.*?</\1>', re.DOTALL)
AFTER_THE_CHAPTER = re.compile(r"<chapter eID.*", re.DOTALL)
# Between words: an empty element (a line's end, an aside that was removed), or two tags, as of neighbouring elements.
# One tag is not: it marks up a part of a word, or stands beside punctuation.
GAP = re.compile(r"(?<=[\w,.;:!?)\]”’»])(?:<[^>]*/>|<[^>]*>(?:<[^>]*>)+)(?=[\w(\[“‘«¿¡])")
TAG = re.compile(r"<[^>]*>")
SPACE_BEFORE = re.compile(r" +(?=[,.;:!?)\]”»])")
SPACE_AFTER = re.compile(r"(?<=[(\[“«¿¡]) +")


def plain_text(markup):
    """The words of a verse in OSIS or ThML markup, well spaced; pysword's own cleaning glues them where a note was."""
    text = ASIDE.sub("<aside/>", AFTER_THE_CHAPTER.sub("", markup))
    text = html.unescape(TAG.sub("", GAP.sub(" ", text)))
    return SPACE_AFTER.sub("", SPACE_BEFORE.sub("", tidy(text)))


def read_bible(modules, name):
    """{(book, chapter, verse): text} of a module, in the order of its books."""
    from pysword.modules import SwordModules

    library = SwordModules(modules)
    if name not in library.parse_modules():
        fail(f"{modules}: no module {name} in it")
    bible = library.get_bible_from_module(name)
    # pysword would unpack a book anew for each of its verses
    bible._decompressed_text = functools.cache(bible._decompressed_text)
    return {
        (book.name, chapter, verse): plain_text(markup)
        for books in bible.get_structure().get_books().values()
        for book in books
        for chapter in range(1, book.num_chapters + 1)
        for verse, markup in enumerate(bible.get_iter(book.name, chapter, clean=False), 1)
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", required=True, metavar="DIR", help="holds mods.d and modules")
    parser.add_argument("--out", required=True, metavar="DIR", help="existing folder to write to")
    args = parser.parse_args()

    bibles = {language: read_bible(args.modules, name) for language, name in BIBLES.items()}
    places = [place for place in bibles["es"] if all(bible.get(place) for bible in bibles.values())]
    files = {f"verses.{language}": [bible[place] for place in places] for language, bible in bibles.items()}
    write_splits(args.out, files | {"chapters": [f"{book} {chapter}" for book, chapter, _ in places]})
    known = " and ".join(f"{sum(map(bool, bible.values()))} {language}" for language, bible in bibles.items())
    print(f"{len(places)} verses are in both, of {known}")
    print(", ".join(f"{sum(len(line.split()) for line in lines)} words in {name}" for name, lines in files.items()))


if __name__ == "__main__":
    main()
