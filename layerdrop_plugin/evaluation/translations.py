"""Translate with a model, compute BLEU, and compare models by a paired bootstrap."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data_folder import read_sentences
from .batches import Batches
from .comparison import compare
from .metrics import bleu as bleu_of
from .metrics import columns, sacrebleu_metrics
from .session import Session
from .significance import BOOTSTRAP_SEED, RESAMPLES

if TYPE_CHECKING:
    from fairseq.data import Dictionary

Translate = Callable[[], list[str]]


class Examples(NamedTuple):
    """Sentences to translate.

    Attributes:
        batches: the source sentences.
        references: their references, in the order of the sentences' indices.
        origin: where the references are from: "raw text", the data folder's text file, or "tokenised", the binarised
            data with subwords joined.
    """

    batches: Batches
    references: list[str]
    origin: str


def examples(session: Session, subset: str, numbers: np.ndarray) -> Examples:
    """The sentences of *subset* with the ascending indices *numbers* (sentences,), and their references.

    References are read from the data folder's text file. If there is none, or the subset consists of several files,
    they are joined from the binarised data.

    Raises:
        LayerdropError: as :meth:`Session.batches_of`, or the text file has another number of lines than the data.
    """
    batches = session.batches_of(subset, numbers)
    split = session.split(subset)
    text = split.text(split.languages[1])
    if text.is_file() and len(split.prefixes) == 1:
        lines = read_sentences(text, len(session.dataset(subset)))
        return Examples(batches, [lines[number] for number in numbers], "raw text")
    words = session.task.target_dictionary
    targets = {
        int(number): words.string(target.masked_fill(target == words.pad(), words.eos()), post_process(words), True)
        for sample in batches
        for number, target in zip(sample["id"], sample["target"], strict=True)
    }
    return Examples(batches, [targets[number] for number in numbers], "tokenised")


def translator(session: Session, batches: Iterable[dict], beam: int) -> Translate:
    """Return a function that translates *batches*, with the gates that the session's model has when it is called.

    The length of a hypothesis is limited to 1.2 times the source's plus 10, because a heavily pruned model may repeat
    words up to the limit.

    Args:
        session: the translation model.
        batches: fairseq batches.
        beam: beam size.

    Returns:
        A function without arguments that returns the hypotheses in the order of the sentences' indices.
    """
    from fairseq.dataclass.configs import GenerationConfig

    generation = GenerationConfig(beam=beam, max_len_a=1.2, max_len_b=10)
    generator = session.task.build_generator([session.model], generation)
    words = session.task.target_dictionary
    pieces, strip = post_process(words), {words.eos(), words.bos(), words.pad()}

    def translate() -> list[str]:
        translations = {}
        session.optimize()
        for sample in batches:
            hypotheses = session.task.inference_step(generator, [session.model], sample)
            for number, (best, *_) in zip(sample["id"].tolist(), hypotheses, strict=True):
                translations[number] = words.string(best["tokens"].cpu(), pieces, extra_symbols_to_ignore=strip)
        return [translations[number] for number in sorted(translations)]

    return translate


def bleu(hypotheses: list[str], references: list[str]) -> float:
    """sacrebleu's BLEU of *hypotheses*, from 0 to 100."""
    return float(sacrebleu_metrics().BLEU().corpus_score(hypotheses, [references]).score)


def compare_with_first(systems: dict[str, list[str]], references: list[str]) -> tuple[dict[str, tuple], str]:
    """Compare *systems* with the first of them by a paired bootstrap over the sentences.

    Args:
        systems: name -> hypotheses.
        references: the references of the hypotheses.

    Returns:
        name -> (BLEU, p-value), the p-value being None for the first; and sacrebleu's signature, which includes the
        number of resamples.
    """
    answered = [columns({"hypothesis": lines, "reference": references}) for lines in systems.values()]
    # The smallest possible p-value, about 1 / resamples, must stay significant after correction for multiple tests.
    resamples = max(RESAMPLES, 100 * len(systems))
    tests = [compare("bleu", [(answered[0], other)], resamples).p for other in answered[1:]]
    metric = sacrebleu_metrics().BLEU()
    metric.corpus_score(references, [references])  # the signature needs the number of references
    signature = metric.get_signature()
    signature.update("bs", resamples)
    signature.update("seed", BOOTSTRAP_SEED)
    return dict(zip(systems, zip(map(bleu_of, answered), [None, *tests], strict=True), strict=True)), str(signature)


def post_process(dictionary: "Dictionary") -> str | None:
    """The value of fairseq's --post-process for the subword segmentation of *dictionary*, or None."""
    if any(symbol.startswith("\u2581") for symbol in dictionary.symbols):
        return "sentencepiece"
    return "subword_nmt" if any(symbol.endswith("@@") for symbol in dictionary.symbols) else None
