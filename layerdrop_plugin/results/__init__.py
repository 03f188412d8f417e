"""Results: what fairseq printed about a model becomes a record in a JSON file, with what it was measured on."""
