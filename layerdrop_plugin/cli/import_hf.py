"""Make a fairseq model of a Hugging Face folder with a BERT, RoBERTa or XLM-R.

OUT gets checkpoint.pt, dict.txt (also where sentence_prediction looks for dictionaries) and the tokenizer, to load with

  RobertaModel.from_pretrained(OUT, "checkpoint.pt", data_name_or_path=OUT)

The tokenizer is the first that DIR has of tokenizer.json, vocab.txt (BERT), sentencepiece.bpe.model (XLM-R), and
vocab.json with merges.txt (RoBERTa).

What fairseq has no place for, and what the folder said of itself, goes to OUT/huggingface.
"""

import argparse

from ..output_folder import refuse_existing

HELP = "make a fairseq model of a Hugging Face folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folders, and what the checkpoint may need to be loaded."""
    parser.add_argument(
        "source", metavar="DIR", help="folder with config.json, weights and tokenizer; it is not changed"
    )
    parser.add_argument("target", metavar="OUT", help="folder to make")
    parser.add_argument(
        "--stock",
        action="store_true",
        help="fairseq's own architecture: the first segment goes into the positions, and LayerNorm has fairseq's"
        " epsilon; prints by how much hidden states moved",
    )


def run(args: argparse.Namespace) -> None:
    """Import."""
    refuse_existing(args.target)
    from ..interop.import_hf import import_folder

    for line in import_folder(args.source, args.target, stock=args.stock):
        print(line)
    print(f"wrote {args.target}")
