"""What the files of a binarised data folder say, one word a line.

python data_folder.py languages DATA SRC TGT SPLIT...        the pair that every SPLIT has; empty SRC or TGT: any
python data_folder.py inputs DATA                             fairseq-train's options for how its inputs look
python data_folder.py finetuning DATA BATCH EPOCHS [REGRESSION]   fairseq-train's options for its labels and its size
"""

import struct
import sys
from pathlib import Path

from textfile import fail


def language_pair(data, split, source="", target=""):
    """(source, target) of a translation split, from its files' names, SPLIT.SRC-TGT.SRC.idx.

    Exits with one line if the folder has no such pair or dictionary, or several pairs.
    """
    known = {}
    for path in sorted(Path(data).glob(f"{split}.*-*.*.idx")):
        pair, side = path.name.removesuffix(".idx").removeprefix(f"{split}.").rsplit(".", 1)
        languages = tuple(pair.split("-", 1))
        if side == languages[0]:
            known[pair] = languages
    wanted = {
        pair: languages
        for pair, languages in known.items()
        if source in ("", languages[0]) and target in ("", languages[1])
    }
    if not known:
        fail(f"{data}: no translation data of the split '{split}' ({split}.SRC-TGT.SRC.idx)")
    if not wanted:
        fail(f"{data}: no language pair {source or 'any'}-{target or 'any'} in '{split}', which has {' '.join(known)}")
    if len(wanted) > 1:
        fail(f"{data} has {' '.join(wanted)}: choose with --src-lang and --tgt-lang")
    (languages,) = wanted.values()
    for language in languages:
        if not Path(data, f"dict.{language}.txt").is_file():
            fail(f"{data}/dict.{language}.txt: no such file")
    return languages


def count_examples(index):
    """The number of examples, from the header of fairseq's .idx file."""
    try:
        with open(index, "rb") as file:
            return struct.unpack_from("<9sQBQ", file.read(26))[3]  # magic, version, type of the numbers, examples
    except (OSError, struct.error):
        fail(f"{index}: no such file, or no index (prepare it with recipes/data/prepare_nlu.sh)")


def finetuning_options(data, batch, epochs, regression=False):
    """The options (list[str]) for a sentence_prediction folder: what to predict, and for how many updates.

    The learning rate rises over 6 % of the updates, and falls to 0 with the last one.

    Args:
        data (Path): a folder without label/dict.txt holds numbers to predict.
        batch (int): examples per update, whatever the number of GPUs.
        epochs (int): passes over the training part.
        regression (bool): the labels are numbers, whatever there is.
    """
    labels, numbers = Path(data, "label", "dict.txt"), Path(data, "label", "train.label")
    if labels.is_file() and not regression:
        classes = len(labels.read_text(encoding="utf-8").splitlines())
        target = ["--num-classes", classes, "--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric"]
    elif numbers.is_file():
        target = ["--num-classes", 1, "--regression-target", "--best-checkpoint-metric", "loss"]
    else:
        fail(f"{numbers}: no such file")
    updates = -(-count_examples(Path(data, "input0", "train.idx")) // batch) * epochs
    schedule = ["--total-num-update", updates, "--warmup-updates", updates * 6 // 100, "--max-epoch", epochs]
    return [str(word) for word in target + schedule]


def input_options(data):
    """The options (list[str]) for the tokenizer of a sentence_prediction folder and the format of its pairs.

    With tokenizer.json they are the model's own, which that file says; else RoBERTa's, `<s> a </s></s> b </s>`.
    """
    if not Path(data, "tokenizer.json").is_file():
        return ["--bpe", "sentencepiece", "--init-token", "0", "--separator-token", "2"]
    from layerdrop_plugin.errors import LayerdropError
    from layerdrop_plugin.interop.tokenizer import ROBERTA, FolderTokenizer

    try:
        pairs = FolderTokenizer.load(Path(data)).pair_format or ROBERTA
    except LayerdropError as error:
        fail(str(error))
    options = ["--bpe", "tokenizer_json"]
    for name, value in pairs.options.items():
        options += [f"--{name}", str(value)]
    return options


def main(command, data, *words):
    if command == "languages":
        pair = words[:2]
        for split in words[2:]:
            pair = language_pair(data, split, *pair)
        print(*pair, sep="\n")
    elif command == "inputs":
        print(*input_options(data), sep="\n")
    else:
        print(*finetuning_options(data, int(words[0]), int(words[1]), any(words[2:])), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
