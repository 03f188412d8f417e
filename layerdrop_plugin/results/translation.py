"""The result of a translation model, from the output of `fairseq-generate` (and `fairseq-validate`).

Metrics: sacrebleu's `bleu` and `chrf` from 0 to 100, on detokenised text; with the output of fairseq-validate also
those of loss.py. Entries in addition to those of every result (record.py):

    intervals          95 % interval [low, high] of bleu and chrf by sacrebleu's bootstrap over sentences, or null
    signatures         sacrebleu's signatures of bleu and chrf
    references         origin of the references: "raw text" (the data folder's text file), "given file", or "tokenised"
                       (the binarised text with subwords joined)
    references_sha256  SHA-256 of the references
    hypotheses         {"source": "generated" or "copy of the source", "sha256", "beam": beam size or null}
    answers            hypothesis and reference: the sentences in the split's order (see evaluation/metrics.py)
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data_folder import TRANSLATION, Split, read_sentences
from ..errors import LayerdropError
from ..evaluation.metrics import bleu_and_chrf
from . import record
from .fairseq_log import FairseqLog
from .loss import read_loss

_LINE = re.compile(r"([DHT])-(\d+)\t(.*)", re.DOTALL)
_FINISHED = re.compile(r"Generate (\S+) with beam=(\d+):")
_PIECES = re.compile("\u2581|@@( |$)")  # subword marks of sentencepiece and subword-nmt


def score(
    generated: str | os.PathLike,
    subject: record.Subject,
    log: str | os.PathLike | None = None,
    references: str | os.PathLike | None = None,
) -> record.Result:
    """Score the output of one fairseq-generate run.

    Args:
        generated: path of the captured output of `fairseq-generate --gen-subset SPLIT …`.
        subject: the model and the data.
        log: path of the captured output of `fairseq-validate --log-format json …`, for the loss.
        references: path of detokenised references, one in each line; by default the data folder's text file.

    Raises:
        LayerdropError: a file cannot be read, sentences are missing, or a file is about another checkpoint, split or
            direction than *subject*.
    """
    generated = FairseqLog(generated)
    split = split_of(subject)
    generated.refuse_other_checkpoint(subject.checkpoint)
    count = len(split.sizes())
    beam = _beam(generated, split)
    lines = read_generated(generated.lines)
    _refuse_other_direction(generated.path, lines["T"], split, subject.checkpoint)
    hypotheses = in_order(lines["D"] or lines["H"], count, generated.path, split.name)
    if pieces := next(filter(_PIECES.search, hypotheses), None):
        raise LayerdropError(
            f"{generated.path} holds pieces of words ('{pieces[:40]}'): "
            "run fairseq-generate with --remove-bpe sentencepiece"
        )
    texts, origin = references_of(split, count, references), "given file" if references else "raw text"
    if texts is None:
        texts, origin = in_order(lines["T"], count, generated.path, split.name), "tokenised"
    measured = measure(hypotheses, texts, origin, "generated", beam)
    if log:
        log = FairseqLog(log)
        log.refuse_other_checkpoint(subject.checkpoint)
        measured["tokens"], measured["loss"], metrics = read_loss(log, split)
        measured["metrics"] |= metrics
    return record.build(subject, measured)


def copy_source(subject: record.Subject, references: str | os.PathLike | None = None) -> record.Result:
    """Score the untranslated source text as if it were the translation, as a lower baseline of BLEU and chrF.

    Args:
        subject: the data; its checkpoint is None.
        references: as for :func:`score`.

    Raises:
        LayerdropError: the data folder has no text file of the source, or there are no references.
    """
    split = subject.split
    _refuse_other_data(split)
    count = len(split.sizes())
    source, target = map(split.text, split.languages)
    texts = references_of(split, count, references)
    if texts is None:
        raise LayerdropError(f"no references: {target} is missing, name another file with --references")
    origin = "given file" if references else "raw text"
    return record.build(subject, measure(read_sentences(source, count), texts, origin, "copy of the source"))


def measure(
    hypotheses: Sequence[str], references: Sequence[str], origin: str, source: str, beam: int | None = None
) -> dict[str, Any]:
    """Compute BLEU and chrF, as the measured entries of a result.

    Args:
        hypotheses, references: sentences.
        origin: origin of the references, see the module's docstring.
        source: origin of the hypotheses, "generated" or "copy of the source".
        beam: beam size of the hypotheses.
    """
    values, intervals, signatures = bleu_and_chrf(hypotheses, references)
    return {
        "examples": len(hypotheses),
        "metric": {"name": "bleu", "value": values["bleu"]},
        "metrics": values,
        "interval": intervals["bleu"],
        "intervals": intervals,
        "loss": None,
        "signatures": signatures,
        "references": origin,
        "references_sha256": _sha256(references),
        "hypotheses": {"source": source, "sha256": _sha256(hypotheses), "beam": beam},
        "answers": {"hypothesis": hypotheses, "reference": references},
    }


def read_generated(lines: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """Find the sentences in the *lines* of the output of fairseq-generate.

    Returns:
        "D" (detokenised hypotheses), "H" (tokenised hypotheses) and "T" (targets) -> (index, sentence) in the order of
        the lines.
    """
    found = {"D": [], "H": [], "T": []}
    for letter, number, text in (match.groups() for match in map(_LINE.match, lines) if match):
        # D and H have the score before the text.
        found[letter].append((int(number), text if letter == "T" else text.partition("\t")[2]))
    return found


def in_order(sentences: Sequence[tuple[int, str]], count: int, path: str | os.PathLike, split: str) -> list[str]:
    """Sort *sentences* by index.

    Args:
        sentences: (index, sentence) pairs.
        count: number of sentences in the split.
        path, split: path of the output and name of the split, for messages.

    Raises:
        LayerdropError: an index from 0 to *count* - 1 is missing or occurs twice, or there is a larger one.
    """
    texts = dict(sentences)
    if not texts:
        raise LayerdropError(f"{path} has no sentences: did fairseq-generate finish, without --quiet?")
    if len(texts) < len(sentences):
        raise LayerdropError(f"{path} has several hypotheses for one sentence: run fairseq-generate with --nbest 1")
    if beyond := [number for number in texts if number >= count]:
        raise LayerdropError(f"{path} has a sentence {beyond[0]}, but '{split}' in the data folder has {count}")
    if len(texts) < count:
        raise LayerdropError(
            f"{path} has {len(texts)} of {count} sentences of '{split}': run fairseq-generate without "
            "--skip-invalid-size-inputs-valid-test and with --required-batch-size-multiple 1"
        )
    return [texts[number] for number in range(count)]


def references_of(split: Split, count: int, given: str | os.PathLike | None) -> list[str] | None:
    """Read the references from the file *given*, or from the data folder's text file; None if neither exists."""
    path = Path(given) if given else split.text(split.languages[1])
    return read_sentences(path, count) if given or path.is_file() else None


def _refuse_other_data(split: Split) -> None:
    if split.kind != TRANSLATION:
        raise LayerdropError(f"{split.root} is no data folder of a translation: it has no {split.name}.SRC-TGT.SRC.idx")


def split_of(subject: record.Subject) -> Split:
    """The subject's split with the source and target language of its model, as file names may have them reversed.

    Raises:
        LayerdropError: it is no split of a translation, or of other languages.
    """
    _refuse_other_data(subject.split)
    split, languages = subject.split, subject.described[0]["languages"]
    if languages and set(languages) != set(split.languages):
        raise LayerdropError(
            f"{subject.checkpoint} translates {'-'.join(languages)}, but {split.root} is {'-'.join(split.languages)}"
        )
    return replace(split, languages=tuple(languages or split.languages))


def _refuse_other_direction(path, targets: Sequence[tuple[int, str]], split: Split, checkpoint) -> None:
    """Raise LayerdropError if the *targets* in the output are source sentences: the run translated in reverse."""
    source, target = split.languages
    texts = [list(map(_without_pieces, split.binarised(language))) for language in split.languages]
    said = [(_without_pieces(text), number) for number, text in targets if number < len(texts[0])]
    of_source, of_target = (all(text == sentences[number] for text, number in said) for sentences in texts)
    if said and of_source and not of_target:
        raise LayerdropError(
            f"{path} translated {target}-{source}, but {checkpoint} translates {source}-{target}: run fairseq-generate"
            f" with --source-lang {source} --target-lang {target}"
        )


def _without_pieces(text: str) -> str:
    """*text* without spaces, subword marks and symbols for unknown words."""
    return re.sub(r"\s|<<unk>>|<unk>", "", _PIECES.sub("", text))


def _beam(generated: FairseqLog, split: Split) -> int | None:
    """Beam size that the output reports, None if it reports none.

    Raises:
        LayerdropError: the output is about another split.
    """
    for subset, beam in (match.groups() for match in map(_FINISHED.match, generated.lines) if match):
        if subset != split.name:
            raise LayerdropError(f"{generated.path} translates '{subset}', not '{split.name}'")
        return int(beam)
    return None


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
