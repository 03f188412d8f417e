"""Evaluate checkpoints on a subset of the data, and compare each with the first one on the same examples.

Classification: accuracy, F1 of the class named "1" (if there are two classes), Matthews' correlation, loss.
Regression: Pearson's and Spearman's correlations, mean squared error. Language models: loss in nats and bits per token,
perplexity. Translation: the same, BLEU and chrF. The numbers equal those of fairseq-validate and fairseq-generate,
whose commands are also printed.

  layerdrop evaluate data/ --path checkpoint_best.pt --out evaluation/
  layerdrop evaluate data/ --path parent.pt child.pt --name parent child --out evaluation/
  layerdrop evaluate data/ --path a/checkpoint_best.pt b/checkpoint_best.pt --subset valid --metric f1 --out evaluation/
  layerdrop evaluate data/ --path translator.pt --no-generate --max-tokens 4096 --out evaluation/

Paired tests of differences: McNemar's exact test for accuracy, a paired t-test for losses, a paired bootstrap over the
examples for F1, correlations and BLEU. `layerdrop report --results evaluation/` reads what this command writes.
"""

import argparse
from pathlib import Path

from ..errors import LayerdropError
from ..output_folder import held
from .arguments import add_inference_argument, add_session_arguments, command_line, folder_name, load_model, positive

BEAM = 4
HELP = "evaluate checkpoints on data and compare each with the first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoints and what they are called, what to measure, and the folder for what is found."""
    add_session_arguments(parser, subset="test", several=True)
    add_inference_argument(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="for evaluate.json and evaluate.md")
    parser.add_argument(
        "--name",
        nargs="+",
        metavar="NAME",
        help="name of each checkpoint in tables, the same for all seeds of a model (default: the names of their"
        " folders, or the paths if those are equal)",
    )
    parser.add_argument(
        "--train-seed",
        nargs="+",
        type=int,
        metavar="N",
        help="training seed of each checkpoint, or one for all, for tables (default: those in the checkpoints)",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="the headline metric: accuracy, f1, mcc or acc_and_f1; pearson, spearman, pearson_and_spearman or mse;"
        " bleu or nll_loss (default: accuracy, pearson, bleu or nll_loss)",
    )
    parser.add_argument(
        "--generate",
        action=argparse.BooleanOptionalAction,
        help="translation models: translate to measure BLEU and chrF, or measure the loss only (default: translate)",
    )
    parser.add_argument("--beam", type=positive, metavar="N", help=f"beam size of translations (default: {BEAM})")
    parser.add_argument("--point", nargs="+", metavar="JSON", help="position of each result in `layerdrop depth-curve`")
    parser.add_argument(
        "--command",
        dest="typed",
        metavar="TEXT",
        help="the command to store in the results (default: this command line)",
    )


def run(args: argparse.Namespace) -> None:
    """Measure, write the page, print the table and the commands of fairseq that give the same numbers."""
    names = _names(args)
    with held(args.out, "evaluate"):
        _evaluate(args, names)


def _evaluate(args, names: list[str]) -> None:
    from ..evaluation import engines, evaluate, fairseq_commands, significance
    from ..reports import evaluation as page
    from ..results.record import Subject, parse_point, refuse_twins

    significance.stats()  # what is not installed is better known before the work
    points = [parse_point(text) for text in args.point or []] or [None] * len(names)
    seeds = args.train_seed and args.train_seed * (len(names) if len(args.train_seed) == 1 else 1)
    command = args.typed or command_line()
    evaluated, found = [], []
    for number, path in enumerate(args.path):
        session = load_model(args, path)
        seed = seeds[number] if seeds else (session.cfg.get("common") or {}).get("seed")
        refuse_twins([*found, {"name": names[number], "seed": seed}])
        if evaluated:
            evaluate.refuse_other_model(session, evaluated[0], args.path[0])
        beam = _beam(args, session)
        metric = evaluate.headline(session, args.metric, translated=beam is not None)
        model = evaluate.evaluate(session, args.subset, args.max_examples, beam)
        if evaluated:
            evaluate.refuse_other_examples(path, model, args.path[0], evaluated[0])
        exported = engines.is_exported(path)
        about = {
            "sample": {"max_examples": args.max_examples, "seed": args.seed} if model.sampled else None,
            "fairseq": {} if exported or model.sampled else fairseq_commands.commands(session, args.subset, model),
            "device": session.device.type,
        }
        if args.inference_dtype != "fp32":
            about["inference_dtype"] = args.inference_dtype
        subject = Subject(session.split(args.subset), names[number], seed, path, command, points[number])
        evaluated.append(model)
        found.append(page.result(subject, model, metric, about))
        del session  # its memory is the next one's
    written = page.page_of(page.record(found, evaluated, command))
    written.write(args.out)
    print(written.plain())
    print(f"\nThe same by fairseq:\n{page.fairseq_commands(found)}\n")
    print(f"wrote {args.out}/evaluate.json and evaluate.md")


def _beam(args, session) -> int | None:
    """The beam size; None if nothing is translated.

    Raises:
        LayerdropError: options of translations are given for another kind of model, or contradict each other.
    """
    if session.kind != "translation" and (args.beam or args.generate is not None):
        raise LayerdropError(f"{session.path} is no translation model: leave out --beam, --generate and --no-generate")
    if args.generate is False and args.beam:
        raise LayerdropError("--beam is of translations: leave out --no-generate, or --beam")
    return None if session.kind != "translation" or args.generate is False else args.beam or BEAM


def _names(args) -> list[str]:
    """A name for each checkpoint.

    Raises:
        LayerdropError: a checkpoint is missing or there twice, or names, seeds or points are not one for each of them.
    """
    for option, values in (("--name", args.name), ("--train-seed", args.train_seed), ("--point", args.point)):
        of_all = option == "--train-seed" and values and len(values) == 1
        if values and len(values) != len(args.path) and not of_all:
            raise LayerdropError(
                f"{option} has {len(values)} values for {len(args.path)} checkpoints: give one for each"
            )
    for path in args.path:
        if not Path(path).exists():
            raise LayerdropError(f"checkpoint {path} does not exist: check the path")
    places = [Path(path).resolve() for path in args.path]
    if len(set(places)) < len(places):
        twice = next(path for path, place in zip(args.path, places, strict=True) if places.count(place) > 1)
        raise LayerdropError(f"--path names {twice} twice")
    folders = [folder_name(path) for path in args.path]
    return args.name or [
        folder if folders.count(folder) == 1 and folder else path
        for folder, path in zip(folders, args.path, strict=True)
    ]
