"""The result of a translation model that CTranslate2 runs: translated here, and scored as translation.py does."""

import os

import torch
from fairseq.data import data_utils
from tqdm import tqdm

from ..evaluation.translations import post_process
from ..interop.ct2_folder import Ct2Folder
from . import record
from .translation import measure, references_of, split_of

BATCH_SIZE = 32


def score(
    path: str | os.PathLike, subject: record.Subject, beam: int, references: str | os.PathLike | None = None
) -> record.Result:
    """Translate the subject's split with the model in a folder of `layerdrop export-ct2`, and score that.

    Args:
        path: the folder.
        subject: the model and the data; its checkpoint is *path*.
        beam: beam size.
        references: path of detokenised references, one in each line; by default the data folder's text file, or the
            binarised text with subwords joined.

    Raises:
        LayerdropError: the folder or the data cannot be read, the model is of other languages, a sentence is too long
            for it, or CTranslate2 is not installed.
    """
    split = split_of(subject)
    translator = Ct2Folder.load(path).translator(torch.get_num_threads())
    dictionary = split.dictionary(split.languages[1])
    pieces = post_process(dictionary)
    source = [line.split() for line in split.binarised(split.languages[0])]
    order = sorted(range(len(source)), key=lambda number: len(source[number]))
    hypotheses = [""] * len(source)
    for start in tqdm(range(0, len(order), BATCH_SIZE), desc="translate", unit="batch"):
        numbers = order[start : start + BATCH_SIZE]
        for number, tokens in zip(numbers, translator.translate([source[n] for n in numbers], beam), strict=True):
            hypotheses[number] = data_utils.post_process(" ".join(tokens), pieces)
    texts, origin = references_of(split, len(source), references), "given file" if references else "raw text"
    if texts is None:
        lines = split.binarised(split.languages[1])
        texts, origin = [data_utils.post_process(line, pieces) for line in lines], "tokenised"
    return record.build(subject, measure(hypotheses, texts, origin, "generated", beam))
