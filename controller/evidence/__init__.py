"""Bundles of evidence that nodes send: who may, where they lie, and for how long."""
