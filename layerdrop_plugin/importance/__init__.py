"""Importance scores from the gradients of gates."""
