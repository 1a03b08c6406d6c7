"""Names of steps and states as words in a sentence."""

from __future__ import annotations


def spaced(name: str) -> str:
    """Return `reset_gpu` as `reset gpu`."""
    return name.replace("_", " ")


def sentence_case(name: str) -> str:
    """Return `reset_gpu` as `Reset gpu`, for the beginning of a sentence."""
    words = spaced(name)
    return words[:1].upper() + words[1:]
