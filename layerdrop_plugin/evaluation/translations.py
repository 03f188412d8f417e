"""What a translation model writes, and whether its BLEU differs from another's by more than chance."""

from collections.abc import Callable
from typing import NamedTuple

from ..errors import LayerdropError
from ..provenance import quiet
from ..results.translation import RESAMPLES, read_sentences
from .session import Session

Translate = Callable[[], list[str]]


class Examples(NamedTuple):
    """Sentences to translate: in batches, and what they should become, in the order of their numbers."""

    batches: list[dict]
    references: list[str]


def examples(session: Session, subset: str, max_examples: int | None) -> Examples:
    """Sentences of *subset* (at most *max_examples*, drawn with the session's seed) and their references.

    The references are the text that the data folder holds, or where it holds none the binarised text put together.

    Raises:
        LayerdropError: as :meth:`Session.batches`, or the text has not as many lines as the data.
    """
    batches, chosen = session.batches(subset, max_examples), session.examples(subset, max_examples)
    text = session.split(subset).root / f"{subset}.{session.split(subset).languages[1]}"
    if text.is_file():
        lines = read_sentences(text, len(session.dataset(subset)))
        return Examples(batches, [lines[number] for number in chosen])
    words = session.task.target_dictionary
    targets = {
        int(number): words.string(target.masked_fill(target == words.pad(), words.eos()), _pieces(words), True)
        for sample in batches
        for number, target in zip(sample["id"], sample["target"], strict=True)
    }
    return Examples(batches, [targets[number] for number in chosen])


def translator(session: Session, batches: list[dict], beam: int) -> Translate:
    """A function that translates *batches* with the model as it is then: sentences in the order of their numbers.

    A model that pruning has harmed may repeat itself to the end, so lengths are bounded as when models are scored.
    """
    from fairseq.dataclass.configs import GenerationConfig

    generation = GenerationConfig(beam=beam, max_len_a=1.2, max_len_b=10)
    generator = session.task.build_generator([session.model], generation)
    words = session.task.target_dictionary
    pieces, strip = _pieces(words), {words.eos(), words.bos(), words.pad()}

    def translate() -> list[str]:
        found = {}
        for sample in batches:
            hypotheses = session.task.inference_step(generator, [session.model], sample)
            for number, (best, *_) in zip(sample["id"].tolist(), hypotheses, strict=True):
                found[number] = words.string(best["tokens"].cpu(), pieces, extra_symbols_to_ignore=strip)
        return [found[number] for number in sorted(found)]

    return translate


def bleu(hypotheses: list[str], references: list[str]) -> float:
    """sacrebleu's BLEU, from 0 to 100."""
    return float(_sacrebleu().BLEU().corpus_score(hypotheses, [references]).score)


def paired_bootstrap(systems: dict[str, list[str]], references: list[str]) -> tuple[dict[str, tuple], str]:
    """Compare *systems* (name -> hypotheses) with the first of them, by sacrebleu's paired bootstrap.

    Returns:
        BLEU and the p-value (None for the first) by name, and sacrebleu's signature.
    """
    metrics = _sacrebleu()
    from sacrebleu.significance import PairedTest

    # The least p-value is 1 / resamples: enough of them that it stays one after correcting for as many tests.
    resamples = max(RESAMPLES, 100 * len(systems))
    with quiet():
        test = PairedTest(list(systems.items()), {"BLEU": metrics.BLEU()}, [references], "bs", resamples)
        signatures, scores = test()
    whole, found = float(scores["BLEU"][0].score), {}
    for name, result in zip(scores["System"], scores["BLEU"], strict=True):
        # where all resamples are alike sacrebleu says the least p-value of all
        p_value = 1.0 if result.p_value is not None and float(result.score) == whole else result.p_value
        found[name] = (float(result.score), p_value)
    return found, str(signatures["BLEU"])


def _pieces(dictionary) -> str | None:
    """How the words of *dictionary* were cut into pieces, as fairseq calls it."""
    if any(symbol.startswith("\u2581") for symbol in dictionary.symbols):
        return "sentencepiece"
    return "subword_nmt" if any(symbol.endswith("@@") for symbol in dictionary.symbols) else None


def _sacrebleu():
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise LayerdropError("BLEU needs sacrebleu: pip install 'layerdrop_plugin[report]'") from error
    return metrics
