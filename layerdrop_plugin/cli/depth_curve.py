"""Plot quality against the number of layers kept, from results with a point (`--point` of `layerdrop evaluate`)."""

import argparse

from .arguments import command_line

WITHOUT_FAIRSEQ = True
HELP = "plot quality against the number of layers kept"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Results, and the folder for the page."""
    parser.add_argument("--results", nargs="+", required=True, help="files of `layerdrop evaluate` or `score`")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for curves.json, .md, .html and .png")
    parser.add_argument("--title", default="Layers kept at inference", help="default: %(default)s")


def run(args: argparse.Namespace) -> None:
    """Write the page, print its table."""
    from ..reports.depth_curves import page_of, record_of

    page = page_of(record_of(args.results, args.title, command_line()))
    page.write(args.out)
    print(page.plain())
