"""Sections of docs/results.md: each reads JSON files that recipes or benchmarks left, and returns Markdown."""
