"""Our own passes over data: a checkpoint with its task and examples, the loss of each, and what differences mean."""
