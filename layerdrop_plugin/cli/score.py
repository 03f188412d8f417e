"""Make a result file from the output of fairseq-generate, translate with a CTranslate2 model and score that, or score
the untranslated source as a baseline:

  layerdrop score DATA --path CKPT --generated GENERATE.txt [--log VALIDATE.log] --name NAME --seed N --out FILE
  layerdrop score DATA --path FOLDER [--beam N] --name NAME --seed N --out FILE        FOLDER of  layerdrop export-ct2
  layerdrop score DATA --copy-source --name NAME --out FILE

Use `layerdrop evaluate` for classifiers, regressors and language models, and for the losses of translation models.
"""

import argparse
import json

from .. import checkpoint
from ..errors import LayerdropError
from .arguments import DATA_HELP, OldName, command_line, positive

HELP = "make a result file (JSON) from the output of fairseq-generate, or of a CTranslate2 model"
BEAM = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, what was printed about them, and the file for the result."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--path", metavar="CKPT", help="the checkpoint that was evaluated, or a folder of `layerdrop export-ct2`"
    )
    parser.add_argument(
        "--subset", metavar="NAME", default="test", help="the subset that was evaluated (default: test)"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--generated", metavar="FILE", help="captured output of `fairseq-generate …`")
    parser.add_argument(
        "--log", metavar="FILE", help="captured output of `fairseq-validate --log-format json …`, for the loss"
    )
    parser.add_argument("--beam", type=positive, metavar="N", help="beam size of a folder's translations (default: 4)")
    parser.add_argument(
        "--copy-source", action="store_true", help="score the source text as if it were the translation"
    )
    parser.add_argument(
        "-s", "--source-lang", metavar="LANG", help="source language, if DATA has several pairs of languages"
    )
    parser.add_argument(
        "-t",
        "--target-lang",
        metavar="LANG",
        help="target language (default: the model's, or those in the names of the files)",
    )
    parser.add_argument("--name", required=True, help="name of the model in tables, the same for all its seeds")
    parser.add_argument("--seed", type=int, help="seed of its training")
    parser.add_argument("--command", dest="evaluated", help="the evaluated command, to store in the result")
    parser.add_argument("--references", metavar="FILE", help="text file of references (default: SUBSET.TGT in DATA)")
    parser.add_argument("--point", metavar="JSON", help="position of the result in `layerdrop depth-curve`")
    parser.add_argument("--data", action=OldName)
    parser.add_argument("--checkpoint", dest="path", action=OldName)
    parser.add_argument("--split", dest="subset", action=OldName)


def run(args: argparse.Namespace) -> None:
    """Write the result, print its numbers."""
    result = _score(args)
    checkpoint.write_text_atomic(args.out, json.dumps(result, indent=2) + "\n")
    print(describe(result))


def describe(result: dict) -> str:
    """The numbers of *result* in one line."""
    from ..provenance import who_is

    metric, found, metrics = result["metric"], result["interval"], result["metrics"]
    reach = f" (95 % interval {found[0]:.1f} to {found[1]:.1f})" if found else ""
    values = [f"{metric['name']} {metric['value']:.4g}{reach}"]
    values += [f"chrF {metrics['chrf']:.4g}"] if "chrf" in metrics else []
    values += [f"{metrics['nll_loss_nats']:.3f} nats per token"] if "nll_loss" in metrics else []
    return f"{who_is(result)}: {', '.join(values)} on {result['examples']} examples"


def _score(args) -> dict:
    from .. import data_folder
    from ..interop.ct2_folder import is_exported
    from ..results import exported, record, translation

    folder = args.path is not None and is_exported(args.path)
    _refuse_contradictions(args, folder)
    subject = record.Subject(
        split=data_folder.find_split(args.data, args.subset, _languages(args)),
        name=args.name,
        seed=args.seed,
        checkpoint=args.path,
        command=args.evaluated or (command_line() if folder else None),
        point=record.parse_point(args.point) if args.point else None,
    )
    if args.copy_source:
        return translation.copy_source(subject, args.references)
    if folder:
        return exported.score(args.path, subject, args.beam or BEAM, args.references)
    return translation.score(args.generated, subject, args.log, args.references)


def _languages(args) -> tuple[str, str] | None:
    """Source and target as given, or as the checkpoint says."""
    from ..interop.ct2_folder import Ct2Folder, is_exported
    from ..pruning.parent import Parent

    if args.source_lang:
        return args.source_lang, args.target_lang
    if args.path and is_exported(args.path):
        languages = Ct2Folder.load(args.path).origin["checkpoint"]["languages"]
        return languages and tuple(languages)
    task = (Parent.load(args.path).cfg.get("task") or {}) if args.path else {}
    languages = task.get("source_lang"), task.get("target_lang")
    return languages if all(languages) else None


def _refuse_contradictions(args, folder: bool) -> None:
    if bool(args.source_lang) != bool(args.target_lang):
        raise LayerdropError("--source-lang and --target-lang go together")
    if args.copy_source and (args.generated or args.log or args.path):
        raise LayerdropError("--copy-source evaluates no model: leave out --generated, --log and --path")
    if folder and (args.generated or args.log):
        raise LayerdropError(f"{args.path} is a folder, which is translated here: leave out --generated and --log")
    if args.beam and not folder:
        raise LayerdropError("--beam is of the translations of an exported folder: leave it out")
    if not (args.copy_source or args.generated or folder):
        raise LayerdropError(
            "say what to score: --generated or --copy-source; `layerdrop evaluate` measures accuracies and losses"
        )
    if not args.copy_source and (args.path is None or args.seed is None):
        raise LayerdropError("say which model was evaluated: --path and --seed")
