"""Draw quality against the number of layers kept, from results with a point (`layerdrop score --point`)."""

import shlex
import sys

WITHOUT_FAIRSEQ = True
HELP = "make curves over the number of layers kept"


def add_arguments(parser):
    parser.add_argument("--results", nargs="+", required=True, help="files of `layerdrop score`, or folders of them")
    parser.add_argument("--out", required=True, help="folder for curves.md, curves.json and curves.png")
    parser.add_argument("--title", default="Layers kept at inference", help="default: %(default)s")


def run(args):
    from ..reports.depth_curves import curves

    print(curves(args.results, args.out, args.title, shlex.join(["layerdrop", *sys.argv[1:]])))
