"""Remove heads or FFN units step by step, those with the lowest scores first, and measure the model after each step.

Writes curve.json, .md, .html and .png: loss, accuracy or BLEU against the share removed, a line for each method of
scoring. After an interruption the same command continues with the points that are missing.

  layerdrop pruning-curve data/ --path checkpoint_best.pt --out curve/
  layerdrop pruning-curve data/ --path checkpoint_best.pt --out curve/ --ffn --step 0.25 --re-estimate
  layerdrop pruning-curve data/ --path checkpoint_best.pt --out curve/ --importance importance.json --methods random
"""

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path

from .. import checkpoint
from ..errors import LayerdropError
from ..output_folder import held
from .arguments import add_inference_argument, add_session_arguments, command_line, load_session, positive

HELP = "plot a model's quality against the share of its heads or FFN units that is removed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, what is removed in which order, and the folder for the page."""
    from ..pruning.ranking import RANKING_HELP, RANKINGS

    add_session_arguments(parser, subset="valid")
    add_inference_argument(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for curve.json, .md, .html and .png")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--heads", dest="what", action="store_const", const="heads", help="remove heads (default)")
    parts.add_argument("--ffn", dest="what", action="store_const", const="ffn", help="remove FFN units")
    parser.set_defaults(what="heads")
    parser.add_argument("--step", default="0.1", help="share of all parts removed at each step (default: 0.1)")
    parser.add_argument("--ranking", choices=RANKINGS, default="global", help=f"{RANKING_HELP} (default: global)")
    parser.add_argument(
        "--methods",
        default="importance,magnitude,random",
        help="methods of scoring, separated by commas: importance, fisher, taylor, magnitude, random"
        " (default: importance,magnitude,random)",
    )
    parser.add_argument(
        "--random-seeds",
        type=positive,
        default=3,
        metavar="N",
        help="number of seeds for the method random (default: 3)",
    )
    parser.add_argument("--re-estimate", action="store_true", help="estimate scores again after each step")
    parser.add_argument("--importance-subset", default="train", help="subset to estimate scores on (default: train)")
    parser.add_argument(
        "--importance-examples",
        type=positive,
        default=1000,
        metavar="N",
        help="maximum number of its examples (default: 1000)",
    )
    parser.add_argument(
        "--importance", nargs="+", default=[], metavar="FILE", help="files of scores, used instead of estimating them"
    )
    parser.add_argument(
        "--bleu-examples", type=positive, metavar="N", help="translation models: also measure BLEU, on N sentences"
    )
    parser.add_argument("--beam", type=positive, default=1, help="beam size of translations (default: 1)")


def run(args: argparse.Namespace) -> None:
    """Measure the points that are missing, write the page, print the findings."""
    with held(args.out, "curve"):
        _draw(args)


def _draw(args) -> None:
    from ..evaluation import pruning_curve
    from ..evaluation.points import Points
    from ..pruning.ranking import share
    from ..reports import pruning_curve as page
    from ..reports.figure import new_figure

    new_figure(1, 1)  # raises at once if matplotlib is not installed
    sweep = pruning_curve.Sweep(args.what, share(args.step), args.ranking, args.re_estimate)
    sweep.rates()
    session = load_session(args)
    files = _files(args, session)
    methods = _methods(args, files)
    batches = session.batches(args.subset, args.max_examples)
    settings = _settings(args, session, sweep, files, methods)
    if batches.left_out:
        settings |= {"left_out": batches.left_out}
    measured = pruning_curve.measurer(session, batches, _bleu(args, session))
    points = Points(Path(args.out) / "curve.json", settings)
    lines = [(m, seed) for m in methods for seed in (range(1, args.random_seeds + 1) if m == "random" else [None])]
    pruning_curve.draw_curves(session, measured, sweep, lines, _scorer(args, session, files), points)
    examples = {"examples": len(batches.examples), "left_out": batches.left_out}
    record = points.record | pruning_curve.conclusions(points.record["points"]) | {"task": session.kind} | examples
    found = page.page_of(record | session.signature(args.subset, command_line()))
    found.write(args.out)
    print(found.plain())
    print(f"wrote {args.out}/curve.json, .md, .html and .png")


def _files(args, session) -> dict:
    """The given files of scores by their methods, checked against the session's model."""
    from ..pruning.gates import model_shape
    from ..pruning.scores import Scores

    if args.importance and args.re_estimate:
        raise LayerdropError("--re-estimate makes scores anew after each step: leave out --importance FILE")
    files = {}
    for path in args.importance:
        scores = Scores.load(path)
        scores.check(model_shape(session.model), session.fingerprint, path)
        if scores.method in files:
            raise LayerdropError(f"{path} is a second file of scores by {scores.method}: give one of each method")
        files[scores.method] = (path, scores)
    return files


def _methods(args, files) -> list[str]:
    from ..importance.methods import METHODS

    methods = list(dict.fromkeys([*files, *filter(None, args.methods.split(","))]))
    unknown = [method for method in methods if method not in METHODS and method not in files]
    if unknown:
        raise LayerdropError(f"--methods: unknown method {unknown[0]!r}, use {', '.join(METHODS)}")
    return methods


def _settings(args, session, sweep, files, methods) -> dict:
    """What all points depend on; points of other settings are not continued."""
    from ..importance.methods import GRADIENTS

    scores = {method: checkpoint.sha256(path) for method, (path, _) in files.items()}
    if any(method in GRADIENTS for method in methods if method not in files):
        split = session.split(args.importance_subset)
        scores |= {"data_sha256": split.sha256(), "split": split.name, "max_examples": args.importance_examples}
        if left_out := session.left_out(split.name):
            scores["left_out"] = left_out
    precision = {} if args.inference_dtype == "fp32" else {"inference_dtype": args.inference_dtype}
    return {
        **precision,
        "checkpoint": session.sha256,
        "data": session.split(args.subset).sha256(),
        "subset": args.subset,
        "max_examples": args.max_examples,
        "seed": args.seed,
        "per": "token" if session.per_token else "example",
        "what": sweep.part_type,
        "step": str(sweep.step),
        "ranking": sweep.ranking,
        "re_estimate": sweep.re_estimate,
        "scores": scores,
        "bleu": {"max_examples": args.bleu_examples, "beam": args.beam} if args.bleu_examples else None,
    }


def _bleu(args, session):
    """A function that gives the BLEU of the session's model, or None without --bleu-examples."""
    from ..evaluation import translations

    if not args.bleu_examples:
        return None
    if session.kind != "translation":
        raise LayerdropError(f"--bleu-examples: {args.path} is no translation model")
    examples = translations.examples(session, args.subset, session.examples(args.subset, args.bleu_examples))
    translate = translations.translator(session, examples.batches, args.beam)
    return lambda: translations.bleu(translate(), examples.references)


def _scorer(args, session, files):
    """A function from (method, seed) to scores, from files or estimated."""
    from ..importance.estimation import estimate
    from ..importance.methods import GRADIENTS

    def score(method, seed):
        if method in files:
            return files[method][1]
        if method in GRADIENTS:
            return estimate(session, args.importance_subset, method=method, max_examples=args.importance_examples)
        return estimate(session if seed is None else replace(session, seed=seed), args.subset, method=method)

    return score if args.re_estimate else cache(score)
