"""Train a SentencePiece model with its fairseq dictionary, or encode text files with one."""

import argparse
import os

import sentencepiece
from textfile import fail, read_lines


def train(args):
    """MODEL and dict.txt from text files; ids and special symbols are fairseq's own business."""
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=args.text,
            model_prefix=os.path.join(args.out, "spm"),
            vocab_size=args.vocab_size,
            hard_vocab_limit=False,  # a small text gets the smaller vocabulary that it can fill
            normalization_rule_name="nmt_nfkc_cf" if args.lowercase else "nmt_nfkc",
            input_sentence_size=args.sample,
            shuffle_input_sentence=True,
            max_sentence_length=1 << 16,
            num_threads=os.cpu_count(),
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        fail(f"cannot train on {', '.join(args.text)}: {str(error).splitlines()[0]}")
    os.replace(os.path.join(args.out, "spm.model"), os.path.join(args.out, "sentencepiece.bpe.model"))
    os.remove(os.path.join(args.out, "spm.vocab"))
    model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(args.out, "sentencepiece.bpe.model"))
    pieces = [model.id_to_piece(i) for i in range(len(model)) if not (model.is_control(i) or model.is_unknown(i))]
    with open(os.path.join(args.out, "dict.txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{piece} 100\n" for piece in pieces)
    print(f"{len(pieces)} pieces")


def encode(args):
    """FILE.spm for every FILE, pieces separated by spaces."""
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=args.model)
    except (RuntimeError, OSError):
        fail(f"{args.model}: not a SentencePiece model")
    for path in args.files:
        with open(path + ".spm", "w", encoding="utf-8") as file:
            for number, line in read_lines(path):
                pieces = model.encode(line, out_type=str)
                if not pieces and not args.keep_empty:
                    fail(f"{path}, line {number}: nothing is left of it after tokenization")
                file.write(" ".join(pieces) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help=train.__doc__)
    command.add_argument("--text", nargs="+", required=True, metavar="FILE")
    command.add_argument("--out", required=True, metavar="DIR")
    command.add_argument("--vocab-size", type=int, required=True)
    command.add_argument("--lowercase", action="store_true")
    command.add_argument("--sample", type=int, default=2_000_000, help="lines to learn from (default: 2,000,000)")
    command.set_defaults(run=train)
    command = commands.add_parser("encode", help=encode.__doc__)
    command.add_argument("--model", required=True)
    command.add_argument("--keep-empty", action="store_true", help="an empty line is no error where nothing is left")
    command.add_argument("files", nargs="+", metavar="FILE")
    command.set_defaults(run=encode)
    args = parser.parse_args()
    try:
        args.run(args)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
