"""Pages with a table, a figure and the provenance of their numbers, made from records in JSON files."""
