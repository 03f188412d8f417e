"""`layerdrop score`: the log of one fairseq-validate run becomes a result file."""

import json

from .. import checkpoint
from ..score import METRICS, score

HELP = "turn the log of a fairseq-validate run into a result file (JSON)"


def add_arguments(parser):
    parser.add_argument("--log", required=True, help="captured output of `fairseq-validate --log-format json …`")
    parser.add_argument("--checkpoint", required=True, help="the checkpoint that was evaluated")
    parser.add_argument("--name", required=True, help="the model's name in tables; seeds of one model share it")
    parser.add_argument("--seed", type=int, required=True, help="the seed of its fine-tuning")
    parser.add_argument("--split", default="test", help="the split that was evaluated (default: test)")
    parser.add_argument("--data", required=True, help="the binarised data folder")
    parser.add_argument("--out", required=True, help="the result file to write")
    parser.add_argument("--command", dest="evaluated", help="the command that produced the log, for the record")
    parser.add_argument("--metric", choices=METRICS, help="the headline (default: the log's first of these)")


def run(args):
    result = score(args.log, args.checkpoint, args.name, args.seed, args.split, args.data, args.evaluated, args.metric)
    checkpoint.write_text_atomic(args.out, json.dumps(result, indent=2) + "\n")
    metric, found = result["metric"], result["interval"]
    reach = f" (95 % interval {found[0]:.1f} to {found[1]:.1f})" if found else ""
    value = f"{metric['name']} {metric['value']:g}{reach}"
    print(f"{args.name}, seed {args.seed}: {value} on {result['examples']} examples")
