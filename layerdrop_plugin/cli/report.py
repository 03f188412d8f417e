"""Compare classifiers, regressors or translation models: table, page and figure of their results and latencies; or put
the pages of finished runs together in one HTML file.

  layerdrop report --results evaluated/ --latency latency.json --out report/
  layerdrop report quickstart/ heads/ --out all/
"""

import argparse

from ..errors import LayerdropError
from .arguments import command_line

WITHOUT_FAIRSEQ = True
HELP = "compare models in a table, a page and a figure; gather the pages of runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Runs, or results and their latency; and the folder for the page."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="output folder of a command or recipe: its pages, and those of the other RUNs, go into one report.html",
    )
    parser.add_argument("--results", nargs="+", help="files of `layerdrop evaluate` or `score`, or folders of them")
    parser.add_argument("--latency", metavar="FILE", help="with --results: file of `layerdrop latency`")
    parser.add_argument("--times", metavar="FILE", help="with --results: times.tsv of a recipe, what its commands took")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for report.html, .json, .md and .png")
    parser.add_argument(
        "--title",
        help="title of the page (default: one for the kind of models, such as 'Layer pruning: accuracy and time')",
    )


def run(args: argparse.Namespace) -> None:
    """Write the page, print its table, or the files whose pages were gathered."""
    if bool(args.runs) == bool(args.results):
        raise LayerdropError("name finished runs, or results with --results: one of both")
    if args.runs:
        return _gather(args)
    from ..reports.report import page_of, record_of

    page = page_of(record_of(args.results, args.latency, args.title, command_line(), args.times))
    page.write(args.out)
    print(page.plain())
    return None


def _gather(args: argparse.Namespace) -> None:
    if args.latency or args.times:
        raise LayerdropError("--latency and --times belong to --results: runs have their own")
    from ..reports import gather

    files = gather.write(args.runs, args.out, args.title)
    print(*files, f"{len(files)} page{'s' * (len(files) > 1)} in {args.out}/report.html", sep="\n")
