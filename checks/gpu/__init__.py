"""Checks about GPUs: one file a check."""
