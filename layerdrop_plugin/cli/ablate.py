"""Measure the change of loss, accuracy and BLEU when one attention head is removed, or all heads but one.

Heads are removed by gates; no weight is changed. Changes of the loss are tested by a paired t-test, accuracies by
McNemar's exact test, BLEU by a paired bootstrap; p-values are corrected by Holm's method. Where heads are selected by
their loss (for BLEU, or as the best head of a layer), they are selected on one half of the examples, drawn with --seed,
and tested on other examples.

  layerdrop ablate data/ --path checkpoint_best.pt --out ablation/
  layerdrop ablate data/ --path checkpoint_best.pt --out ablation/ --mode all-but-one --max-examples 500
"""

import argparse

from ..output_folder import held
from .arguments import add_inference_argument, add_session_arguments, command_line, load_session, positive

HELP = "measure the change of loss, accuracy and BLEU without each attention head"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, mode, and the folder for the page."""
    add_session_arguments(parser, subset="test")
    add_inference_argument(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for ablation.json, .md, .html and .png")
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
        help="translation models: heads for which BLEU is measured; extremes are the heads with the largest and the"
        " smallest changes of the loss (default: extremes)",
    )
    parser.add_argument(
        "--extremes", type=positive, default=3, metavar="K", help="number of heads at each end (default: 3)"
    )
    parser.add_argument(
        "--bleu-examples",
        type=positive,
        default=200,
        metavar="N",
        help="maximum number of sentences to translate (default: 200)",
    )
    parser.add_argument("--beam", type=positive, default=1, help="beam size of translations (default: 1)")


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
    print(f"wrote {args.out}/ablation.json, .md, .html and .png")
