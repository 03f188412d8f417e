"""Changes to fairseq's hub interfaces."""

import os

from .replace import replaces


def patch_hub_pairs() -> None:
    """Let ``RobertaHubInterface.encode`` join sentences with as many separators as the model's tokenizer says.

    It says so only under ``--bpe tokenizer_json``; a call with ``no_separator=`` has its way. Can be removed when
    fairseq has such a setting.
    """
    from fairseq.models.roberta.hub_interface import RobertaHubInterface

    @replaces(RobertaHubInterface, "encode")
    def encode(original, self, sentence, *addl_sentences, no_separator=None):
        if no_separator is None:
            no_separator = getattr(self.bpe, "separators", 2) == 1
        return original(self, sentence, *addl_sentences, no_separator=no_separator)


def patch_hub_tokenizer() -> None:
    """Let ``RobertaHubInterface`` use the tokenizer.json in the data folder of a model that names no ``--bpe``.

    Stock children of imported models name none: fairseq without this plugin has none for them. Can be removed
    when fairseq reads tokenizer.json.
    """
    from fairseq.models.roberta.hub_interface import RobertaHubInterface
    from fairseq.utils import split_paths

    @replaces(RobertaHubInterface, "__init__")
    def __init__(original, self, cfg, task, model):
        original(self, cfg, task, model)
        data = getattr(getattr(cfg, "task", None), "data", None) if self.bpe is None else None
        folder = split_paths(data)[0] if data else None
        if folder and os.path.isfile(os.path.join(folder, "tokenizer.json")):
            from ..interop.bpe import TokenizerJson, TokenizerJsonConfig

            self.bpe = TokenizerJson(TokenizerJsonConfig(data=folder))
