"""What config.json says of a BERT, RoBERTa or XLM-R, in the words of fairseq's options; the rest is refused by name."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import LayerdropError

# model_type -> what the names of its encoder's weights begin with.
PREFIXES = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta."}
# hidden_act -> fairseq's name of the same function.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_accurate",
    "gelu_fast": "gelu_accurate",
    "gelu_pytorch_tanh": "gelu_accurate",
    "relu": "relu",
    "tanh": "tanh",
    "linear": "linear",
}
_ONLY = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}  # and nothing else
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")
HEADS = {"ForSequenceClassification": "classification", "ForMaskedLM": "masked_lm", "ForPreTraining": "masked_lm"}


@dataclass(frozen=True)
class BertConfig:
    """What the import needs of config.json.

    Attributes:
        kind: its model_type.
        layers, width, heads, units: of the encoder.
        rows: of the embeddings.
        positions: rows of the table of positions; ``first_position`` is the first that is used.
        segments: rows of the table of segments.
        eps: of every LayerNorm.
        activation: in fairseq's words.
        head: ``classification``, ``masked_lm`` or None, by the class that config.json names.
        labels: names of the classes in their order; one for regression.
        tied: whether the LM head's matrix is the embeddings.
        dropout, attention_dropout, pooler_dropout: rates.
    """

    kind: str
    layers: int
    width: int
    heads: int
    units: int
    rows: int
    positions: int
    first_position: int
    segments: int
    eps: float
    activation: str
    head: str | None
    labels: tuple[str, ...]
    tied: bool
    dropout: float
    attention_dropout: float
    pooler_dropout: float

    @property
    def longest(self) -> int:
        """The most tokens of an input."""
        return self.positions - self.first_position

    @property
    def bert(self) -> bool:
        """Whether heads and positions are BERT's, not RoBERTa's."""
        return self.kind == "bert"


def parse(config: dict, path: Path) -> BertConfig:
    """The *config* of the file *path*.

    Raises:
        LayerdropError: of a model that fairseq's RoBERTa with this plugin's options cannot represent.
    """
    kind = config.get("model_type")
    if kind not in PREFIXES:
        raise LayerdropError(f"{path}: the model_type {kind} cannot be imported, only {', '.join(PREFIXES)}")
    for name, value in _ONLY.items():
        if (config.get(name) or value) != value:
            raise LayerdropError(f"{path}: {name} {config[name]} cannot be represented, only {value}")
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise LayerdropError(f"{path}: fairseq has no hidden_act {activation}, only {', '.join(ACTIVATIONS)}")
    sizes = {name: config.get(name) for name in (*_SIZES, "vocab_size")}
    wrong = next((name for name, value in sizes.items() if not isinstance(value, int) or value < 1), None)
    if wrong:
        raise LayerdropError(f"{path}: {wrong} is {sizes[wrong]}, want a number from 1")
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise LayerdropError(f"{path}: hidden_size is not a multiple of num_attention_heads")
    dropout = config.get("hidden_dropout_prob", 0.1)
    own = config.get("classifier_dropout")
    return BertConfig(
        kind=kind,
        layers=sizes["num_hidden_layers"],
        width=sizes["hidden_size"],
        heads=sizes["num_attention_heads"],
        units=sizes["intermediate_size"],
        rows=sizes["vocab_size"],
        positions=sizes["max_position_embeddings"],
        first_position=0 if kind == "bert" else (config.get("pad_token_id", 1) or 0) + 1,
        segments=config.get("type_vocab_size", 2),
        eps=float(config.get("layer_norm_eps", 1e-12)),
        activation=ACTIVATIONS[activation],
        head=_head(config, path),
        labels=_labels(config),
        tied=config.get("tie_word_embeddings", True),
        dropout=dropout,
        attention_dropout=config.get("attention_probs_dropout_prob", 0.1),
        pooler_dropout=dropout if own is None else own,
    )


def _head(config: dict, path: Path) -> str | None:
    """The head that the class in config.json has."""
    names = config.get("architectures") or []
    found = {head for name in names for suffix, head in HEADS.items() if name.endswith(suffix)}
    if "classification" in found and config.get("problem_type") == "multi_label_classification":
        raise LayerdropError(
            f"{path}: the problem_type multi_label_classification cannot be represented: fairseq's classes exclude"
            " each other"
        )
    return next(iter(found), None)


def _labels(config: dict) -> tuple[str, ...]:
    """The names of the classes; those that were never named (LABEL_0, ...) are their numbers."""
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    names = [str(names[number]) for number in sorted(names, key=int)]
    if all(name == f"LABEL_{number}" for number, name in enumerate(names)):
        names = [str(number) for number in range(len(names))]
    return tuple(names)
