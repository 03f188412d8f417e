"""``--bpe tokenizer_json``: text through the tokenizer.json that lies with the data or beside the checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from fairseq.data.encoders import register_bpe
from fairseq.dataclass import FairseqDataclass
from fairseq.utils import split_paths
from omegaconf import II

from ..pruning.surgery import TOKENIZER_JSON
from .tokenizer import ROBERTA, FolderTokenizer


@dataclass
class TokenizerJsonConfig(FairseqDataclass):
    """Options of ``--bpe tokenizer_json``."""

    data: str = II("task.data")  # from_pretrained's data_name_or_path; without help it is no option of its own


@register_bpe(TOKENIZER_JSON, dataclass=TokenizerJsonConfig)
class TokenizerJson:
    """The tokenizer of the (first) data folder, with the methods that fairseq's encoders have.

    Attributes:
        separators: how many ``</s>`` the model expects between the sentences of a pair; fairseq's 2 where the tokenizer
            does not say.
    """

    def __init__(self, cfg: TokenizerJsonConfig):
        self.tokenizer = FolderTokenizer.load(Path(split_paths(cfg.data)[0]))
        self.separators = (self.tokenizer.pair_format or ROBERTA).separators

    def encode(self, x: str) -> str:
        """The pieces of the text *x*, separated by spaces."""
        return " ".join(self.tokenizer.encode(x))

    def decode(self, x: str) -> str:
        """The text of the pieces *x*."""
        return self.tokenizer.decode(x.split())

    def is_beginning_of_word(self, x: str) -> bool:
        """Whether a word begins with the piece *x*."""
        return self.tokenizer.begins_word(x)
