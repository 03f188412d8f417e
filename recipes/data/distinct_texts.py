"""Write a TSV of texts, each once, with the label of the file that it stands in: LABEL=FILE ..."""

import argparse

from textfile import fail, read_lines, tidy


def distinct(files, shortest, longest):
    """{text: label} of the texts in `files` ({label: path}) of `shortest` to `longest` characters.

    A text that has two labels is left out.
    """
    labels = {}
    for label, path in files.items():
        for _, line in read_lines(path):
            text = tidy(line)
            if shortest <= len(text) <= longest:
                labels.setdefault(text, set()).add(label)
    return {text: found.pop() for text, found in labels.items() if len(found) == 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="LABEL=FILE")
    parser.add_argument("--out", required=True, metavar="TSV")
    parser.add_argument("--shortest", type=int, default=1, metavar="N", help="least characters of a text")
    parser.add_argument("--longest", type=int, required=True, metavar="N", help="most characters of a text")
    args = parser.parse_args()
    if not all("=" in file for file in args.files):
        fail(f"want LABEL=FILE, not {' '.join(args.files)}")
    found = distinct(dict(file.split("=", 1) for file in args.files), args.shortest, args.longest)
    if not found:
        fail(f"no text of {args.shortest} to {args.longest} characters in {' '.join(args.files)}")
    with open(args.out, "w", encoding="utf-8") as file:
        file.write("sentence\tlabel\n")
        file.writelines(f"{text}\t{label}\n" for text, label in found.items())
    counts = {label: list(found.values()).count(label) for label in sorted(set(found.values()))}
    print(f"{len(found)} distinct texts; {', '.join(f'{count} of label {label}' for label, count in counts.items())}")


if __name__ == "__main__":
    main()
