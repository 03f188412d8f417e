"""Make a CTranslate2 model of a translation or language model, to serve it without fairseq and PyTorch.

Whole layers may be gone on either side, and FFNs may have any width. Uneven numbers of heads are padded with zeros to
the greatest of their stack; the outputs are equal, and a line says what was padded. OUT gets the model, its
vocabularies, the dictionaries and SentencePiece model beside it, and layerdrop.json, which says what it was made of.

  layerdrop export-ct2 child.pt data/en-de served --quantization int8
  layerdrop score data/en-de --path served --name child --seed 1 --out result.json      BLEU, measured in CTranslate2
"""

import argparse

from ..output_folder import refuse_existing
from .arguments import DATA_HELP, command_line

HELP = "make a CTranslate2 model of a translation or language model"
QUANTIZATIONS = ("float32", "float16", "bfloat16", "int16", "int8", "int8_float16", "int8_bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoint, data, target and the type of the weights."""
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint file; it is not changed")
    parser.add_argument("data", metavar="DATA", help=f"{DATA_HELP}: its dictionaries and SentencePiece model are used")
    parser.add_argument("target", metavar="OUT", help="folder to make")
    parser.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        default=QUANTIZATIONS[0],
        help="type of the weights; where the CPU lacks it, CTranslate2 computes in another one (default: float32)",
    )


def run(args: argparse.Namespace) -> None:
    """Export, saying what was padded and by how much log-probabilities differ from fairseq's."""
    refuse_existing(args.target)
    from ..interop.export_ct2 import export

    for line in export(args.checkpoint, args.data, args.target, args.quantization, command_line()):
        print(line)
    print(f"wrote {args.target}")
