"""Compare classifiers, regressors or translation models: table, page and figure of their results and latencies."""

import argparse

from .arguments import command_line

WITHOUT_FAIRSEQ = True
HELP = "compare models in a table, a page and a figure"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Results, their latency, and the folder for the page."""
    parser.add_argument(
        "--results", nargs="+", required=True, help="files of `layerdrop evaluate` or `score`, or folders of them"
    )
    parser.add_argument("--latency", metavar="FILE", help="file of `layerdrop latency`")
    parser.add_argument("--times", metavar="FILE", help="times.tsv of a recipe: what its commands took")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for report.json, .md and .png")
    parser.add_argument(
        "--title",
        help="title of the page (default: one for the kind of models, such as 'Layer pruning: accuracy and time')",
    )


def run(args: argparse.Namespace) -> None:
    """Write the page, print its table."""
    from ..reports.report import page_of

    page = page_of(args.results, args.latency, args.title, command_line(), args.times)
    page.write(args.out)
    print(page.plain())
