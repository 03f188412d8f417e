"""Results: records of evaluated models in JSON files, from the output of fairseq's commands or our own evaluation."""
