"""Make a folder that transformers loads of the checkpoint of an encoder.

OUT gets config.json, model.safetensors, the tokenizer and the names of the classes, as BERT, RoBERTa or XLM-R,
whichever the model was imported from or fits, and layerdrop.json, which says what it was made of:

  AutoModelForSequenceClassification.from_pretrained(OUT)      of a fine-tuned classifier or regression
  AutoModelForMaskedLM.from_pretrained(OUT)                    of a pre-trained model

transformers has one number of heads and one FFN width for all layers: layers that lost some are padded with zeros, with
equal outputs. A model that was imported and not changed becomes the same folder again, bit for bit.
"""

import argparse

from ..output_folder import refuse_existing
from .arguments import add_encoder_export_arguments, command_line

HELP = "make a Hugging Face folder of an encoder's checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, the folder to make, and how."""
    add_encoder_export_arguments(parser)
    parser.add_argument(
        "--strict", action="store_true", help="refuse a model whose layers differ in size, instead of padding them"
    )


def run(args: argparse.Namespace) -> None:
    """Export."""
    refuse_existing(args.target)
    from ..interop.export_hf import export_folder

    for line in export_folder(args.checkpoint, args.target, args.data, args.strict, command_line()):
        print(line)
    print(f"wrote {args.target}")
