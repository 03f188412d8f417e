"""Score the heads, FFN units and layers of a checkpoint on some data, and write the scores (JSON) for layerdrop prune.

  layerdrop importance data-bin --path parent.pt --out importance.json
  layerdrop importance data-bin --path parent.pt --subset valid --max-examples 500 --out importance.json
  layerdrop importance data-bin --path parent.pt --method magnitude --out magnitude.json

methods
  importance  E |g|, with g the gradient of an example's loss at a part's gate (Michel, Levy, Neubig 2019)
  fisher      E g²
  taylor      -E g, the rise of the loss when the part is removed, to first order
  magnitude   l2 norm of the part's weights
  random      numbers drawn with the seed

methods that score layers only
  contribution  1 - cosine similarity of a layer's input and output: of the first token (the mean of all in models for
                translation or language modelling), or with --per token of each (Sajjad et al. 2020)
  loss          the place of a layer in the order in which the greedy search removes the layers; after an interruption
                the same command continues where it was

  layerdrop importance data-bin --path parent.pt --method contribution --subset valid --out contribution.json
  layerdrop prune parent.pt child.pt --encoder-layers contribution:contribution.json:4
"""

import argparse
from pathlib import Path

from .. import checkpoint
from ..errors import LayerdropError
from ..importance import LAYER_METHOD_NAMES, METHOD_NAMES
from ..output_folder import held
from ..pruning.scores import Scores
from .arguments import add_session_arguments, command_line, load_session

HELP = "score heads, FFN units and layers by their influence on the loss"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint and what to estimate."""
    add_session_arguments(parser, "train")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument(
        "--method", choices=(*METHOD_NAMES, *LAYER_METHOD_NAMES), default=METHOD_NAMES[0], help="default: %(default)s"
    )
    parser.add_argument(
        "--per",
        choices=("example", "token"),
        default="example",
        help="take absolute values and squares of each example's gradients, or of each token's (default: example)",
    )
    parser.add_argument(
        "--base-criterion", metavar="NAME", help="criterion whose loss is differentiated (default: the checkpoint's)"
    )
    parser.add_argument("--base-criterion-args", metavar="JSON", help="options of the criterion, a JSON object")


def run(args: argparse.Namespace) -> None:
    """Estimate, write the file and print a table."""
    _refuse_idle_options(args)
    checkpoint.refuse_same_file(args.path, args.out)
    checkpoint.check_target(args.out)  # before the work, not after it
    with held(Path(args.out).parent, Path(args.out).name):
        found = (_score_layers if args.method in LAYER_METHOD_NAMES else _score_parts)(args)
    print(describe(found))
    print(f"wrote {args.out}")


def _refuse_idle_options(args) -> None:
    if args.method in LAYER_METHOD_NAMES and (args.base_criterion or args.base_criterion_args):
        raise LayerdropError(f"--method {args.method} needs no gradients: leave out --base-criterion")
    if args.method == "loss" and args.per == "token":
        raise LayerdropError("--method loss compares mean losses: leave out --per")


def _score_parts(args) -> Scores:
    from ..importance.estimation import estimate

    found = estimate(
        load_session(args),
        args.subset,
        method=args.method,
        per=args.per,
        max_examples=args.max_examples,
        criterion=args.base_criterion,
        criterion_args=args.base_criterion_args,
        command=command_line(),
    )
    found.save(args.out)
    return found


def _score_layers(args) -> Scores:
    from ..evaluation import layer_scores

    session = load_session(args)
    if args.method == "contribution":
        found = layer_scores.contribution(session, args.subset, args.per, args.max_examples, command_line())
        found.save(args.out)
        return found
    found = layer_scores.greedy_loss(session, args.subset, args.out, args.max_examples, command_line())
    found.save(args.out)
    layer_scores.remove_states(session, args.out)
    return found


def describe(found: Scores) -> str:
    """Tables for the terminal: scores of heads and layers, and minimum, mean and maximum of each layer's FFN units."""
    from tabulate import tabulate

    what = found.method if found.per is None else f"{found.method} per {found.per}"
    seen = f", {found.examples:,} examples, loss {found.loss:.4g} per example" if found.examples else ""
    if left_out := found.signature.get("left_out"):
        seen += f"; {left_out:,} examples were too long and are left out"
    tables = [f"{what}{seen}"]
    for key, rows in found.scores.items():
        if key.endswith(".layers"):
            table, headers = [[layer, score] for layer, score in enumerate(rows)], ["layer", "score"]
        elif key.endswith(".ffn"):
            units = [[min(row), sum(row) / len(row), max(row)] if row else [] for row in rows]
            table = [[layer, len(row), *of] for layer, (row, of) in enumerate(zip(rows, units, strict=True))]
            headers = ["layer", "units", "least", "mean", "greatest"]
        else:
            table = [[layer, *row] for layer, row in enumerate(rows)]
            headers = ["layer", *(f"head {head}" for head in range(max(map(len, rows), default=0)))]
        tables.append(f"{key}\n{tabulate(table, headers, floatfmt='.3g')}")
    return "\n\n".join(tables)
