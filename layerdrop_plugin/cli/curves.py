"""Draw quality against the number of layers kept, from results with a point (`layerdrop score --point`)."""

import shlex
import sys

from ..reports.depth_curves import TITLE, page_of

HELP = "make curves over the number of layers kept"


def add_arguments(parser):
    parser.add_argument("--results", nargs="+", required=True, help="files of `layerdrop score`, or folders of them")
    parser.add_argument("--out", required=True, help="folder for curves.md, curves.json and curves.png")
    parser.add_argument("--title", default=TITLE, help="default: %(default)s")


def run(args):
    page = page_of(args.results, args.title, shlex.join(["layerdrop", *sys.argv[1:]]))
    page.write(args.out)
    print(page.plain())
