"""Make a table, a page and a picture of the results of classifications, or of translations, and of their latency."""

import shlex
import sys

from ..reports.report import page_of

HELP = "make a table, a page and a picture of results and latencies"


def add_arguments(parser):
    parser.add_argument("--results", nargs="+", required=True, help="files of `layerdrop score`, or folders of them")
    parser.add_argument("--latency", help="the file of `layerdrop latency`")
    parser.add_argument("--out", required=True, help="folder for report.md, report.json and report.png")
    parser.add_argument("--title", help="default: what it is about, such as 'Layer pruning: accuracy and time'")


def run(args):
    command = shlex.join(["layerdrop", *sys.argv[1:]])
    page = page_of(args.results, args.latency, args.title, command)
    page.write(args.out)
    print(page.plain())
