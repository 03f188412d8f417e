"""Split text into the pieces of an imported model's tokenizer, as fairseq-preprocess takes them.

FILE.pieces has the pieces of every line of FILE, with spaces between them.

  layerdrop encode IMPORTED train.txt valid.txt
  fairseq-preprocess --only-source --srcdict IMPORTED/dict.txt --trainpref train.txt.pieces ...
"""

import argparse
import os

HELP = "split text into the pieces of a tokenizer.json"
WITHOUT_FAIRSEQ = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The tokenizer and the text."""
    parser.add_argument("tokenizer", metavar="DIR", help="folder with tokenizer.json and special_tokens_map.json")
    parser.add_argument("files", nargs="+", metavar="FILE", help="text, UTF-8, a sentence a line; it is not changed")


def run(args: argparse.Namespace) -> None:
    """Encode every file."""
    from ..interop.tokenizer import FolderTokenizer, encode_file

    tokenizer = FolderTokenizer.load(args.tokenizer)
    for path in args.files:
        print(f"{encode_file(tokenizer, path):,} lines: {os.path.basename(path)}.pieces")
