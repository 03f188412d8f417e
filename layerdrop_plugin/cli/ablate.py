"""Measure the change of loss, accuracy and BLEU without one attention head, or with one head of an attention only.

Heads are removed by gates; no weight is changed. Losses are compared example by example (paired t-test), answers of
classifiers by McNemar's exact test, BLEU by a paired bootstrap; p-values are corrected by Holm's method.
Heads that are chosen by their loss, to measure BLEU of or as the best of their layer, are chosen on one half of the
examples, drawn with --seed, and tested on others.

  layerdrop ablate data/ --path checkpoint_best.pt --out ablation/
  layerdrop ablate data/ --path checkpoint_best.pt --out ablation/ --mode all-but-one --max-examples 500
"""

import argparse

from ..output_folder import held
from .arguments import add_session_arguments, command_line, load_session, positive

HELP = "measure what changes without each attention head"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, mode, and the folder for the page."""
    add_session_arguments(parser, subset="test")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for ablation.json, .md and .png")
    parser.add_argument(
        "--mode",
        choices=("each", "all-but-one"),
        default="each",
        help="each: remove one head at a time; all-but-one: keep one head of an attention at a time (default: each)",
    )
    parser.add_argument(
        "--bleu",
        choices=("all", "extremes", "none"),
        default="extremes",
        help="of translation models, heads that BLEU is measured of: extremes are those that the loss says to be the"
        " most and the least important (default: extremes)",
    )
    parser.add_argument("--extremes", type=positive, default=3, metavar="K", help="heads at each end (default: 3)")
    parser.add_argument(
        "--bleu-examples", type=positive, default=200, metavar="N", help="most sentences to translate (default: 200)"
    )
    parser.add_argument("--beam", type=positive, default=1, help="beam's size of translations (default: 1)")


def run(args: argparse.Namespace) -> None:
    """Measure, write the page, print the findings."""
    with held(args.out, "ablation"):
        _ablate(args)


def _ablate(args) -> None:
    from ..evaluation import ablation, ablation_summary, significance
    from ..reports import ablation as page
    from ..reports.figure import new_figure

    significance.stats(), new_figure(1, 1)  # raise at once if scipy or matplotlib is not installed
    session = load_session(args)
    batches = session.batches(args.subset, args.max_examples)
    measured = ablation.ablate(session, batches, args.mode)
    record = ablation_summary.describe(measured, session, args.mode)
    if session.kind == "translation" and args.bleu != "none":
        sizes = (args.extremes, args.bleu_examples, args.beam)
        ablation_summary.add_bleu(record, measured, session, args.subset, args.bleu, *sizes)
    record = {"type": "layerdrop.ablation", "version": 1} | record | {"left_out": batches.left_out}
    found = page.page_of(record | session.signature(args.subset, command_line()))
    found.write(args.out)
    print(found.plain())
    print(f"wrote {args.out}/ablation.json, .md and .png")
