"""Make a folder for ONNX Runtime of the checkpoint of an encoder.

OUT gets model.onnx, tokenizer.json, which pads and truncates, labels.json (classifiers), and layerdrop.json, which says
what it was made of. The graph has the model's real sizes, layer by layer. Its inputs are input_ids (tokenizer.json's
ids) and attention_mask, (batch, length) of any size; its output is logits, or last_hidden_state of a model without a
classification head. It serves without fairseq and torch: see recipes/serve_classifier.py.
"""

import argparse

from ..output_folder import refuse_existing
from .arguments import add_encoder_export_arguments, command_line

HELP = "make a folder for ONNX Runtime of an encoder's checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, the folder to make, and the precision."""
    add_encoder_export_arguments(parser)
    parser.add_argument(
        "--int8",
        action="store_true",
        help="8-bit weights, and products in 8 bits (ONNX Runtime's dynamic quantisation): faster and a quarter of the"
        " size; prints by how much answers move",
    )


def run(args: argparse.Namespace) -> None:
    """Export."""
    refuse_existing(args.target)
    from ..interop.export_onnx import export_folder

    for line in export_folder(args.checkpoint, args.target, args.data, args.int8, command_line()):
        print(line)
    print(f"wrote {args.target}")
