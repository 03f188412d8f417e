"""A checkpoint of an encoder that is to leave fairseq, with all that must go with it: words, labels, its head."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fairseq.models import BaseFairseqModel

from ..errors import LayerdropError, first_line
from ..model_loading import load_model
from ..pruning.parent import Parent
from ..pruning.vocabulary import FINGERPRINTS
from .bert_weights import HEAD
from .beside import Origin, origin_beside
from .dictionary_file import DictionaryFile
from .special_tokens import MASK
from .spm_tokenizer import tokenizer_beside
from .tokenizer import ROBERTA, FolderTokenizer, PairFormat

_MADE_UP = re.compile(r"madeupword\d{4,}")
# Options with which fairseq's encoder computes what neither BERT nor the exported graph does.
_REFUSED = ("encoder_normalize_before", "spectral_norm_classification_head", "encoder_xformers_att_config")
_ANSWERS = "sentence_prediction"


@dataclass(frozen=True)
class Exportable:
    """A checkpoint of an encoder and what lies beside it.

    Attributes:
        parent: the checkpoint.
        folder: that of dictionaries and tokenizer.
        tokenizer: the model's own.
        symbols: of the rows of the embeddings, in their order.
        rows: the tokenizer's id -> row of the embeddings; ids that the tokenizer does not give are rows without a
            piece.
        head: ``classification``, ``regression`` or ``masked_lm``, by its task.
        head_name: of the classification head.
        labels: names of the classes, in the model's order; empty for other models than classifiers.
        origin: what an import left; None for a model that was not imported.
        model: fairseq's, in evaluation mode.
    """

    parent: Parent
    folder: Path
    tokenizer: FolderTokenizer
    symbols: Sequence[str] = field(repr=False)
    rows: tuple[int, ...] = field(repr=False)
    head: str
    head_name: str
    labels: tuple[str, ...]
    origin: Origin | None
    model: BaseFairseqModel = field(repr=False)

    @property
    def answers(self) -> bool:
        """Whether it has one output for each example, of its classification head."""
        return self.head != "masked_lm"

    @property
    def pairs(self) -> PairFormat:
        """How two sentences are put together; fairseq's way where the tokenizer does not say."""
        return self.tokenizer.pair_format or ROBERTA

    @property
    def ids(self) -> dict[int, int]:
        """Row of the embeddings -> the first of the tokenizer's ids that has it."""
        return {row: number for number, row in reversed(list(enumerate(self.rows)))}


def read(path: str | os.PathLike, data: str | os.PathLike | None = None) -> Exportable:
    """Read the checkpoint *path* and what lies beside it.

    Args:
        data: folder with the model's dictionaries and tokenizer; that of the checkpoint by default.

    Raises:
        LayerdropError: the checkpoint is of another kind of model, or something is missing or does not belong to it.
    """
    parent = Parent.load(path)
    head = _head(parent)
    refused = next((name for name in _REFUSED if parent.options.get(name)), None)
    if refused:
        raise LayerdropError(f"{path} was trained with --{refused.replace('_', '-')}: such a model cannot be exported")
    folder = Path(data) if data else Path(path).parent
    symbols = _symbols(parent, folder, head)
    if head != "masked_lm" and parent.cfg["task"].get("init_token") != 0:
        raise LayerdropError(
            f"{path} was trained on inputs without <s> (--init-token 0), which tokenizers put before a sentence"
        )
    labels = _labels(parent, folder) if head == "classification" else ()
    tokenizer = tokenizer_beside(folder)
    origin = origin_beside(folder) or origin_beside(Path(path).parent)
    rows = rows_by_id(symbols, tokenizer, origin.said["rows"] if origin else None)
    name = parent.cfg["task"].get("classification_head_name") or HEAD
    model = load_model(path, folder)[0].float().eval()
    return Exportable(parent, folder, tokenizer, symbols, rows, head, name, labels, origin, model)


def _head(parent: Parent) -> str:
    """Kind of the head that the model's task uses.

    Raises:
        LayerdropError: it is no encoder, or of a task that has no such head.
    """
    path, family = parent.path, parent.family.stock
    if family != "roberta":
        raise LayerdropError(
            f"{path} is a {family}: only encoders (roberta, and imported BERT, RoBERTa and XLM-R) can be exported to"
            " this engine; for translation and language models there is export-ct2"
        )
    task = parent.cfg.get("task") or {}
    name = str(task.get("_name")).removeprefix("pruning_")
    if name == "masked_lm":
        return "masked_lm"
    if name != _ANSWERS:
        raise LayerdropError(f"{path} was trained for the task {name!r}: it must be {_ANSWERS} or masked_lm")
    wanted = f"classification_heads.{task.get('classification_head_name') or HEAD}.out_proj.weight"
    if wanted not in parent.weights:
        raise LayerdropError(f"{path} has no weight {wanted}: fine-tune it first")
    return "regression" if task.get("regression_target") else "classification"


def _symbols(parent: Parent, folder: Path, head: str) -> list[str]:
    """The symbol of each row of the embeddings."""
    name = "dict.txt" if head == "masked_lm" else "input0/dict.txt"
    if not (folder / name).is_file():
        raise LayerdropError(
            f"there is no {name} in {folder}, which says what the rows of the embedding are: name the folder that has"
            " it (the model's data) with --data"
        )
    expected = parent.options.get(FINGERPRINTS["source"])
    return DictionaryFile(folder / name, parent.vocabulary_size(), expected, option="--data").symbols


def _labels(parent: Parent, folder: Path) -> tuple[str, ...]:
    """Names of the classes in the model's order."""
    path, classes = folder / "label" / "dict.txt", parent.cfg["task"].get("num_classes")
    if not path.is_file():
        raise LayerdropError(
            f"there is no label/dict.txt in {folder}, which says what the classes are called: name the folder that has"
            " it (the model's data) with --data"
        )
    from fairseq.data import Dictionary

    try:
        words = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises whatever a foreign file makes it hit upon
        raise LayerdropError(f"{path} is no dictionary of fairseq's: {first_line(error)}") from None
    labels = tuple(words.symbols[words.nspecial :])
    labels = tuple(label for label in labels if not _MADE_UP.fullmatch(label))
    if len(labels) != classes:
        raise LayerdropError(
            f"{path} has {len(labels)} labels, the model {classes} classes: they do not belong together"
        )
    return labels


def rows_by_id(
    symbols: Sequence[str], tokenizer: FolderTokenizer, origin: Sequence[int | None] | None = None
) -> tuple[int, ...]:
    """The tokenizer's id -> the row of a model whose rows have these *symbols*.

    A piece without a row has that of ``<unk>``. Rows without a piece, which only imported models have, take the ids
    that are free.

    Args:
        origin: of an imported model: its row -> that in the Hugging Face folder, null for a new ``<mask>``.

    Raises:
        LayerdropError: the model has rows for symbols that the tokenizer lacks.
    """
    places = {symbol: row for row, symbol in enumerate(symbols)}
    unknown = places["<unk>"]
    found = {number: places.get(symbol, unknown) for number, symbol in tokenizer.symbols.items()}
    left = [row for row, symbol in enumerate(symbols) if symbol not in tokenizer.ids]
    foreign = [symbols[row] for row in left if symbols[row] != MASK and not _MADE_UP.fullmatch(symbols[row])]
    if foreign:
        raise LayerdropError(
            f"{tokenizer.path} is another model's tokenizer: it lacks {len(foreign):,} symbols of the dictionary, such"
            f" as {foreign[0]!r}; name the folder of the model's own with --data"
        )
    whole = origin is not None and len(origin) == len(symbols)
    if not whole:
        left = []
    elif origin[-1] is None:
        left.remove(len(symbols) - 1)
    free = (number for number in range(len(found) + len(left)) if number not in found)
    found |= dict(zip(free, left, strict=False))
    return tuple(found.get(number, unknown) for number in range(max(found) + 1))
