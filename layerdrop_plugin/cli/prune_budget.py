"""The part of ``layerdrop prune`` that keeps as much as a budget allows: --budget."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..anatomy import FFN_UNITS, HEADS, STACKS
from ..errors import LayerdropError
from ..pruning.budget import BUDGET_HELP, FLOPS, LATENCY, Budget, Candidate, subsets_by_score
from ..pruning.layer_search import Subset
from ..pruning.plan import Plan
from ..pruning.ranking import RANKINGS
from ..pruning.rules import Rules
from ..pruning.scores import Scores
from .arguments import load_session, positive

if TYPE_CHECKING:
    from ..evaluation.budget import Chosen, Compared
    from ..evaluation.session import Session
    from ..pruning.parent import Parent

BATCH, LENGTH, DEVICE, SUBSET = 32, 48, "cpu", "valid"  # defaults
TIMED = ("device", "threads", "latency_table")  # options of a budget of latency
SIZED = ("batch", "length")  # options of a budget of FLOPs or latency
OTHERS = ("budget_scores", "budget_layer_scores", "budget_data", "budget_subset", "budget_examples")


def add_budget_arguments(parser: argparse.ArgumentParser) -> None:
    """The budget, the scores and data that decide what is kept, and what FLOPs and latencies are of."""
    group = parser.add_argument_group("as much as a budget allows")
    group.add_argument("--budget", metavar="METRIC:SHARE", help=BUDGET_HELP)
    group.add_argument("--budget-scores", metavar="FILE", help="scores of heads and FFN units, by layerdrop importance")
    group.add_argument(
        "--budget-layer-scores",
        metavar="FILE",
        help="scores of layers, such as by layerdrop importance --method loss (default: those in --budget-scores)",
    )
    group.add_argument(
        "--budget-data", metavar="DATA", help="binarised data folder on which candidates are compared by their loss"
    )
    group.add_argument("--budget-subset", metavar="NAME", help=f"subset of it (default: {SUBSET})")
    group.add_argument(
        "--budget-examples",
        type=positive,
        metavar="N",
        help="maximum number of its examples, drawn with --seed (default: all)",
    )
    group.add_argument(
        "--batch", type=positive, metavar="N", help=f"sentences that FLOPs and latency are of (default: {BATCH})"
    )
    group.add_argument(
        "--length",
        type=positive,
        metavar="N",
        help="tokens in each of them; an encoder-decoder reads as many target tokens, and latency is of that pass, not"
        f" of beam search (default: {LENGTH})",
    )
    group.add_argument("--device", metavar="DEVICE", help=f"where latency is measured: cpu or cuda (default: {DEVICE})")
    group.add_argument(
        "--threads", type=positive, metavar="N", help="torch's threads for latency (default: torch's own)"
    )
    group.add_argument(
        "--latency-table",
        metavar="FILE",
        help="JSON file of the times of sublayers; one of another machine is measured again (default: in ~/.cache)",
    )


def check_budget(args: argparse.Namespace) -> None:
    """Raise LayerdropError for options of --budget without it, and for those that it excludes."""
    if not args.budget:
        _refuse(args, (*OTHERS, *SIZED, *TIMED), "is of --budget METRIC:SHARE: give that too")
        return
    budget = Budget.parse(args.budget)
    if not args.budget_scores:
        raise LayerdropError(
            "--budget keeps heads and FFN units by importance: give --budget-scores FILE (layerdrop importance)"
        )
    _refuse(args, ("plan", "heads", "ffn"), "and --budget both say what is kept: leave one of them out")
    _refuse(
        args, ("vocab", "target_vocab"), "changes what the whole model is: prune the vocabulary first, then --budget"
    )
    if args.ranking != RANKINGS[0]:
        raise LayerdropError("--ranking is of --heads and --ffn: leave it out with --budget")
    if args.min_heads < 0:
        raise LayerdropError(f"a minimum of {args.min_heads} heads: want 0 or more")
    if not args.budget_data:
        _refuse(args, ("budget_subset", "budget_examples"), "is of --budget-data DATA: give that too")
    if budget.metric != LATENCY:
        _refuse(args, TIMED, "is of --budget latency:SHARE: leave it out")
    if budget.metric not in (FLOPS, LATENCY):
        _refuse(args, SIZED, "is of a budget of flops or latency: leave it out")


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    found = next((name for name in names if getattr(args, name) is not None), None)
    if found:
        raise LayerdropError(f"--{found.replace('_', '-')} {why}")


def budgeted(parent: "Parent", args: argparse.Namespace) -> tuple[Plan, list[str]]:
    """The plan for the budget, and lines on what it was compared with."""
    import torch

    from ..evaluation.budget import Comparison, Problem, choose
    from ..evaluation.forward_passes import device_of
    from ..evaluation.sublayer_times import Setting

    device = device_of(args.device or DEVICE)
    scores = _scores(parent, args.budget_scores)
    problem = Problem(parent, Budget.parse(args.budget), scores, _subsets(parent, args, scores), args.min_heads)
    session = load_session(args, parent, args.budget_data) if args.budget_data else None
    batches = session and session.batches(args.budget_subset or SUBSET, args.budget_examples)
    compare = Comparison(session, batches, _refit(parent, args, session) if args.reconstruct and session else None)
    threads = args.threads or torch.get_num_threads()
    setting = Setting(device, args.batch or BATCH, args.length or LENGTH, threads)
    chosen = choose(problem, compare, session, setting, args.latency_table)
    whole = compare([Candidate(Plan(), 1.0, True)])
    return chosen.plan, _lines(problem.budget, parent, chosen, whole, session)


def _scores(parent: "Parent", path: str) -> Scores:
    scores = Scores.load(path)
    scores.check(parent.shape, parent.fingerprint, path)
    return scores


def _subsets(parent: "Parent", args: argparse.Namespace, scores: Scores) -> dict[str, list[Subset]]:
    """Stack -> the subsets of its layers to choose from; those that an option names are the only ones."""
    rules = {stack: getattr(args, f"{stack}_layers") for stack in STACKS}
    rules = Rules({stack: spec for stack, spec in rules.items() if spec})
    named = dict(rules.plan(parent.shape, parent.fingerprint if rules.read_scores else None).items())
    of_layers = _scores(parent, args.budget_layer_scores) if args.budget_layer_scores else scores
    if args.budget_layer_scores and len(named) == len(dict(parent.shape.items())):
        raise LayerdropError("--budget-layer-scores says which layers to keep, and so do the rules for layers")
    return {
        stack: [named[stack].layers] if stack in named else subsets_by_score(of_layers, stack)
        for stack, _ in parent.shape.items()
    }


def _refit(parent: "Parent", args: argparse.Namespace, session: "Session") -> "Callable[[Plan], Session]":
    """The function that makes the reconstructed child of a plan, by the options of --reconstruct."""
    from ..evaluation.reconstruct import reconstruct
    from ..pruning.prune import prune

    fitting = session if args.reconstruct == args.budget_data else load_session(args, parent, args.reconstruct)

    def refit(plan: Plan) -> "Session":
        child = fitting.with_child(prune(parent, plan))
        batches = fitting.batches(args.subset, args.max_examples)
        reconstruct(fitting, child.model, plan, batches, args.reconstruct_by or "full")
        return child

    return refit


def _lines(
    budget: Budget, parent: "Parent", chosen: "Chosen", whole: "list[Compared]", session: "Session | None"
) -> list[str]:
    from tabulate import tabulate

    stacks = [stack for stack, _ in parent.shape.items()]
    loss = f"loss per {'token' if session is not None and session.per_token else 'example'}"
    cost = f"{budget.metric}, predicted" if budget.metric == LATENCY else budget.metric
    headers = ["", *(f"{stack} layers" for stack in stacks), "heads", "FFN units", cost, loss, "accuracy %"]
    rows = [_row("chosen" if one.candidate.plan == chosen.plan else "", one, parent) for one in chosen.compared]
    rows += [_row("whole", one, parent) for one in whole]
    empty = [column for column in range(len(headers)) if column and all(row[column] is None for row in rows)]
    table = [[cell for column, cell in enumerate(row) if column not in empty] for row in rows]
    shown = [header for column, header in enumerate(headers) if column not in empty]
    return [*chosen.notes, f"budget {budget}, shares of the whole model:", tabulate(table, shown, floatfmt=".4g")]


def _row(name: str, compared: "Compared", parent: "Parent") -> list:
    child = compared.candidate.plan.cut(parent.shape)
    layers = [of.layers for _, of in child.items()]
    counts = [child.count(HEADS), child.count(FFN_UNITS)]
    return [name, *layers, *counts, compared.candidate.share, compared.loss, compared.accuracy]
