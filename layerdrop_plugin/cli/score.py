"""Turn what fairseq printed into a result file. The data folder says which kind of result it is:

classification     layerdrop score DATA --path CKPT --log VALIDATE.log …
language model     the same; loss per token
translation        layerdrop score DATA --path CKPT --generated GENERATE.txt [--log VALIDATE.log] …
                   without --generated only the loss
its baseline       layerdrop score DATA --copy-source …
"""

import argparse
import json

from .. import checkpoint
from ..errors import LayerdropError
from ..evaluation import CLASSIFICATION_METRICS
from .arguments import DATA_HELP, OldName

HELP = "turn the output of fairseq-validate or fairseq-generate into a result file (JSON)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoint, what was printed about them, and the file for the result."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--path", metavar="CKPT", help="the checkpoint that was evaluated")
    parser.add_argument(
        "--subset", metavar="NAME", default="test", help="the subset that was evaluated (default: test)"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="for the result (JSON)")
    parser.add_argument("--log", metavar="FILE", help="captured output of `fairseq-validate --log-format json …`")
    parser.add_argument("--generated", metavar="FILE", help="captured output of `fairseq-generate …`")
    parser.add_argument("--copy-source", action="store_true", help="score the source's text as if it were translated")
    parser.add_argument("--name", required=True, help="the model's name in tables; seeds of one model share it")
    parser.add_argument("--seed", type=int, help="the seed of its training")
    parser.add_argument("--command", dest="evaluated", help="the command that was evaluated, for the record")
    parser.add_argument(
        "--metric",
        choices=CLASSIFICATION_METRICS,
        help="the headline of a classification (default: the log's first of these)",
    )
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
    from ..results import classification, loss, record

    _refuse_contradictions(args)
    subject = record.Subject(
        split=data_folder.find_split(args.data, args.subset),
        name=args.name,
        seed=args.seed,
        checkpoint=args.path,
        command=args.evaluated,
        point=record.parse_point(args.point) if args.point else None,
    )
    if args.generated or args.copy_source:
        from ..results import translation

        if args.copy_source:
            return translation.copy_source(subject, args.references)
        return translation.score(args.generated, subject, args.log, args.references)
    if subject.split.kind == data_folder.CLASSIFICATION:
        return classification.score(args.log, subject, args.metric)
    return loss.score(args.log, subject)


def _refuse_contradictions(args) -> None:
    if args.copy_source and (args.generated or args.log or args.path):
        raise LayerdropError("--copy-source evaluates no model: leave out --generated, --log and --path")
    if not (args.copy_source or args.generated or args.log):
        raise LayerdropError("say what to score: --log, --generated or --copy-source")
    if not args.copy_source and (args.path is None or args.seed is None):
        raise LayerdropError("say which model was evaluated: --path and --seed")
