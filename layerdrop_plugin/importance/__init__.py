"""Importance scores from the gradients of gates."""

# The keys of methods.METHODS, for the command line, which does not import torch.
METHOD_NAMES = ("importance", "fisher", "taylor", "magnitude", "random")
