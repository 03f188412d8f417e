"""Importance scores from the gradients of gates."""

from ..pruning.layer_scores import CONTRIBUTION, LOSS

# The keys of methods.METHODS, for the command line, which does not import torch.
METHOD_NAMES = ("importance", "fisher", "taylor", "magnitude", "random")
# Methods that score layers only, see evaluation/layer_scores.py.
LAYER_METHOD_NAMES = (CONTRIBUTION, LOSS)
