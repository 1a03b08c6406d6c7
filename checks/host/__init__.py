"""Checks about the host: one file a check."""
