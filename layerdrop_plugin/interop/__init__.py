"""Models in and out: Hugging Face folders and their tokenizers."""
