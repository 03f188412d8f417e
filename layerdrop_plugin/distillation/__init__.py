"""A teacher beside the model that is trained: its outputs and hidden states, and how far the model's are from them."""
