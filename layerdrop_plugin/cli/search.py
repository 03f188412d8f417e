"""Search on validation data for the best layers of a stack to keep.

exhaustive compares all subsets, greedy removes the layer whose removal leaves the best model again and again, beam
follows several subsets at once. The layers that subsets begin with run only once for all of them. The examples are
split into two halves that share no text: one chooses, the other tests the best subsets, against every other layer.

Writes search.json, .md, .html and .png, and plan.json for `layerdrop prune --plan`; greedy and beam, which find the
best layers of every size on the way, also plan-N.json for each. After an interruption the same command continues where
it was, by search.state.json.

  layerdrop search data/ --path checkpoint_best.pt --keep 6 --out search/
  layerdrop search data/ --path checkpoint_best.pt --keep 4 --method beam --metric accuracy --out search/
  layerdrop search data/ --path translator.pt --stack decoder --keep 2 --metric bleu --out search/
  layerdrop prune checkpoint_best.pt child.pt --plan search/plan.json
"""

import argparse
import json
from pathlib import Path

from .. import checkpoint
from ..anatomy import STACKS
from ..errors import LayerdropError
from ..output_folder import held
from .arguments import add_inference_argument, add_session_arguments, command_line, load_session, positive

HELP = "search on validation data for the best layers to keep"
FINALISTS, BLEU_EXAMPLES, MAX_MINUTES = 8, 200, 720.0  # defaults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, how many layers, how they are searched, and the folder for the page."""
    from ..pruning.layer_search import BEAM, METHODS

    add_session_arguments(parser, subset="valid")
    add_inference_argument(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for the page search.* and plan.json")
    parser.add_argument("--keep", required=True, type=int, metavar="N", help="number of layers to keep")
    parser.add_argument("--stack", choices=STACKS, help="stack to search (default: the model's only one)")
    parser.add_argument(
        "--metric",
        choices=("loss", "accuracy", "bleu"),
        default="loss",
        help="what makes a subset the best; bleu ranks the best --finalists by loss again (default: loss)",
    )
    parser.add_argument(
        "--method", choices=METHODS, default=METHODS[0], help=f"subsets that are compared (default: {METHODS[0]})"
    )
    parser.add_argument(
        "--beam",
        type=positive,
        metavar="N",
        help=f"of --method beam: number of the best subsets of each size that lose another layer (default: {BEAM})",
    )
    parser.add_argument(
        "--finalists",
        type=positive,
        default=FINALISTS,
        metavar="N",
        help=f"number of the best subsets that are measured on the other half, too (default: {FINALISTS})",
    )
    parser.add_argument(
        "--bleu-examples",
        type=positive,
        metavar="N",
        help=f"of --metric bleu: maximum number of sentences of each half to translate (default: {BLEU_EXAMPLES})",
    )
    parser.add_argument(
        "--bleu-beam", type=positive, metavar="N", help="of --metric bleu: beam size of translations (default: 1)"
    )
    parser.add_argument(
        "--max-minutes",
        type=float,
        default=MAX_MINUTES,
        metavar="MINUTES",
        help=f"refuse a search that would take longer, by the times of one batch (default: {MAX_MINUTES:g})",
    )


def run(args: argparse.Namespace) -> None:
    """Search, write the page and the plan, print the findings."""
    if args.beam and args.method != "beam":
        raise LayerdropError(f"--beam is of --method beam: leave it out with --method {args.method}")
    if args.metric != "bleu" and (args.bleu_examples or args.bleu_beam):
        raise LayerdropError("--bleu-examples and --bleu-beam are of --metric bleu: leave them out")
    with held(args.out, "search"):
        _search(args)


def _search(args) -> None:
    from ..evaluation import layer_search, search_summary, significance
    from ..evaluation.search_state import SearchState, settings_of
    from ..evaluation.text_halves import text_halves
    from ..pruning.layer_search import BEAM
    from ..reports import layer_search as page
    from ..reports.figure import new_figure

    significance.stats(), new_figure(1, 1)  # raise at once if scipy or matplotlib is not installed
    session = load_session(args)
    asked = layer_search.question(session, args.stack, args.keep, args.method, args.beam or BEAM, args.metric)
    batches = session.batches(args.subset, args.max_examples)
    halves = text_halves(session, batches)
    chosen_on, tested_on = (session.batches_of(args.subset, half) for half in halves)
    state = SearchState(
        Path(args.out) / "search.state.json", settings_of(session, args.subset, args.max_examples, asked)
    )
    _announce(session, chosen_on, asked, state, args.max_minutes)
    bleus = None
    if args.metric == "bleu":
        sizes = args.bleu_examples or BLEU_EXAMPLES, args.bleu_beam or 1
        bleus = search_summary.Bleus(session, args.subset, halves, *sizes)
    compared = layer_search.run(session, chosen_on, asked, state)
    record = search_summary.describe(session, asked, compared, tested_on, args.finalists, bleus)
    record = {"type": "layerdrop.search", "version": 1} | record | {"left_out": batches.left_out}
    found = page.page_of(record | session.signature(args.subset, command_line()))
    found.write(args.out)
    plans = {f"plan-{size['size']}.json": size["best"]["plan"] for size in record["sizes"]}
    plans["plan.json"] = record["best"]["plan"]
    for name, plan in plans.items():
        checkpoint.write_text_atomic(Path(args.out) / name, json.dumps(plan) + "\n")
    print(found.plain())
    print(f"wrote {args.out}/search.json, .md, .html, .png and {', '.join(plans)}")


def _announce(session, batches, asked, state, most: float) -> None:
    """Say how long the search will take, or that it goes on.

    Raises:
        LayerdropError: it would take more than *most* minutes.
    """
    from ..evaluation import layer_search

    if state.batches:
        print(f"{state.path}: continuing after {state.batches} batches")
        return
    predicted = layer_search.costs(session, batches, asked)
    layer_search.refuse_long(predicted, asked, most)
    print(f"the search will take about {layer_search.duration(predicted.minutes(asked))}")
