"""Modules that the models are built from: layers, attention, gates, structured dropout."""
