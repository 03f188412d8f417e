"""Importance scores from the gradients of gates."""

METHOD_NAMES = ("importance", "fisher", "taylor", "magnitude", "random")  # of methods.METHODS, without importing torch
