"""By how much a stock architecture's hidden states differ from the imported model's."""

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor

_SENTENCES, _LENGTH, _SPECIAL = 16, 24, 4  # of the inputs; the first rows of a dictionary are special


def random_inputs(rows: int, separators: int = 0, longest: int = _LENGTH) -> Tensor:
    """Random tokens (sentences, length) in a dictionary of *rows*, the same ones every time, padded on the right.

    Args:
        separators: 0 for single sentences, else how many ``</s>`` stand between the sentences of pairs.
        longest: positions that the model has.
    """
    generator = torch.Generator().manual_seed(1)
    length = min(_LENGTH, longest)
    tokens = torch.randint(_SPECIAL, rows, (_SENTENCES, length), generator=generator)
    tokens[:, 0] = 0
    for row in range(_SENTENCES):
        end = max(length - 1 - row % (length // 2), 2 + separators)
        tokens[row, end], tokens[row, end + 1 :] = 2, 1
        tokens[row, end // 2 : end // 2 + separators] = 2
    return tokens


@torch.no_grad()
def largest_difference(models: tuple[BaseFairseqModel, BaseFairseqModel], tokens: Tensor) -> float:
    """The largest difference between the two models' hidden states for *tokens*, over all layers, without padding."""
    places = tokens.ne(1).t()  # inner states are (length, batch, width)
    states = [model(tokens, features_only=True, return_all_hiddens=True)[1]["inner_states"] for model in models]
    return max((a - b)[places].abs().max().item() for a, b in zip(*states, strict=True))
