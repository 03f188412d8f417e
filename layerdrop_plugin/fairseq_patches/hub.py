"""Changes to fairseq's hub interfaces."""

from .replace import replaces


def patch_hub_pairs() -> None:
    """Let ``RobertaHubInterface.encode`` join sentences with as many separators as the model's tokenizer says.

    It says so only under ``--bpe tokenizer_json``; a call with ``no_separator=`` has its way. It can go when fairseq
    has such a setting.
    """
    from fairseq.models.roberta.hub_interface import RobertaHubInterface

    @replaces(RobertaHubInterface, "encode")
    def encode(original, self, sentence, *addl_sentences, no_separator=None):
        if no_separator is None:
            no_separator = getattr(self.bpe, "separators", 2) == 1
        return original(self, sentence, *addl_sentences, no_separator=no_separator)
