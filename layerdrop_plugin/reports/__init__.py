"""Measurements of models and what is made of them: results, latencies, reports, curves."""
