"""Split text files into train.txt and valid.txt by a hash of each paragraph, which is a line that is not blank."""

import argparse
from pathlib import Path

from textfile import fail, fraction, read_lines, split_of, tidy, write_splits


def text_files(name):
    """The file itself, or a folder's text files in order."""
    if not Path(name).is_dir():
        return [name]
    return sorted(Path(name).glob("*.txt")) or fail(f"{name}: no *.txt in this folder")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 text, or a folder of *.txt")
    parser.add_argument("--out", required=True, metavar="DIR", help="existing folder to write to")
    parser.add_argument("--valid", type=fraction, default=0.02, metavar="F", help="fraction for valid (default: 0.02)")
    parser.add_argument("--limit", type=int, metavar="N", help="read only the first N paragraphs")
    args = parser.parse_args()

    splits = {"train": [], "valid": []}
    count = 0
    for path in (file for name in args.files for file in text_files(name)):
        before = count
        for _, line in read_lines(path):
            if args.limit and count >= args.limit:
                break
            paragraph = tidy(line)
            if paragraph:
                splits[split_of(paragraph, args.valid)].append(paragraph)
                count += 1
        if count == before and not args.limit:
            fail(f"{path}: no text in it")
    for split, paragraphs in splits.items():
        if not paragraphs:
            fail(f"{count} paragraphs (lines) are too few: none fell into {split}")
    write_splits(args.out, {f"{split}.txt": paragraphs for split, paragraphs in splits.items()})
    print(f"{count} paragraphs: {len(splits['train'])} train, {len(splits['valid'])} valid")


if __name__ == "__main__":
    main()
