"""Turn what fairseq-generate printed about a translation model into a result file, or measure a copy of the source:

  layerdrop score DATA --path CKPT --generated GENERATE.txt [--log VALIDATE.log] --name NAME --seed N --out FILE
  layerdrop score DATA --copy-source --name NAME --out FILE

`layerdrop evaluate` measures classifiers, regressions and language models, and losses of translation models.
"""

import argparse
import json

from .. import checkpoint
from ..errors import LayerdropError
from .arguments import DATA_HELP, OldName

HELP = "turn the output of fairseq-generate into a result file (JSON)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, what was printed about them, and the file for the result."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--path", metavar="CKPT", help="the checkpoint that was evaluated")
    parser.add_argument(
        "--subset", metavar="NAME", default="test", help="the subset that was evaluated (default: test)"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="for the result (JSON)")
    parser.add_argument("--generated", metavar="FILE", help="captured output of `fairseq-generate …`")
    parser.add_argument("--log", metavar="FILE", help="that of `fairseq-validate --log-format json …`, for the loss")
    parser.add_argument("--copy-source", action="store_true", help="score the source's text as if it were translated")
    parser.add_argument("-s", "--source-lang", metavar="LANG", help="of DATA, where it has several pairs of languages")
    parser.add_argument("-t", "--target-lang", metavar="LANG", help="(default: the model's, or what the files say)")
    parser.add_argument("--name", required=True, help="the model's name in tables; seeds of one model share it")
    parser.add_argument("--seed", type=int, help="the seed of its training")
    parser.add_argument("--command", dest="evaluated", help="the command that was evaluated, for the record")
    parser.add_argument("--references", metavar="FILE", help="a translation's (default: the data folder's SUBSET.TGT)")
    parser.add_argument("--point", metavar="JSON", help="where the result belongs in `layerdrop depth-curve`")
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
    from ..results import record, translation

    _refuse_contradictions(args)
    subject = record.Subject(
        split=data_folder.find_split(args.data, args.subset, _languages(args)),
        name=args.name,
        seed=args.seed,
        checkpoint=args.path,
        command=args.evaluated,
        point=record.parse_point(args.point) if args.point else None,
    )
    if args.copy_source:
        return translation.copy_source(subject, args.references)
    return translation.score(args.generated, subject, args.log, args.references)


def _languages(args) -> tuple[str, str] | None:
    """Source and target as given, or as the checkpoint says."""
    from ..pruning.parent import Parent

    if args.source_lang:
        return args.source_lang, args.target_lang
    task = (Parent.load(args.path).cfg.get("task") or {}) if args.path else {}
    languages = task.get("source_lang"), task.get("target_lang")
    return languages if all(languages) else None


def _refuse_contradictions(args) -> None:
    if bool(args.source_lang) != bool(args.target_lang):
        raise LayerdropError("--source-lang and --target-lang go together")
    if args.copy_source and (args.generated or args.log or args.path):
        raise LayerdropError("--copy-source evaluates no model: leave out --generated, --log and --path")
    if not (args.copy_source or args.generated):
        raise LayerdropError(
            "say what to score: --generated or --copy-source; `layerdrop evaluate` measures accuracies and losses"
        )
    if not args.copy_source and (args.path is None or args.seed is None):
        raise LayerdropError("say which model was evaluated: --path and --seed")
