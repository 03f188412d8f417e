"""From gradients of gates to scores."""
