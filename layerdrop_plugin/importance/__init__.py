"""From gradients of gates to scores."""

METHOD_NAMES = ("importance", "fisher", "taylor", "magnitude", "random")  # of methods.METHODS, without importing torch
