"""Make a table, a page and a picture of the results of classifications, or of translations, and of their latency."""

import argparse

from .arguments import command_line

WITHOUT_FAIRSEQ = True
HELP = "make a table, a page and a picture of results and latencies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Results, their latency, and the folder for the page."""
    parser.add_argument(
        "--results", nargs="+", required=True, help="files of `layerdrop evaluate` or `score`, or folders of them"
    )
    parser.add_argument("--latency", metavar="FILE", help="the file of `layerdrop latency`")
    parser.add_argument("--times", metavar="FILE", help="times.tsv of a recipe: what its commands took")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for report.json, .md and .png")
    parser.add_argument("--title", help="default: what it is about, such as 'Layer pruning: accuracy and time'")


def run(args: argparse.Namespace) -> None:
    """Write the page, print its table."""
    from ..reports.report import page_of

    page = page_of(args.results, args.latency, args.title, command_line(), args.times)
    page.write(args.out)
    print(page.plain())
