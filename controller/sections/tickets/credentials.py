"""How fleetmend says who it is to a system for tickets. Secrets come from files alone."""

from __future__ import annotations

from pathlib import Path


def flaw_of(user: str, password_file: Path | None, token_file: Path | None) -> str:
    """Return what is wrong with an account that is a token, or a user with a password; empty when nothing is."""
    if token_file is not None and (user or password_file is not None):
        return "give token_file, or user and password_file, not both"
    if token_file is None and not (user and password_file is not None):
        return "an account is missing: give token_file, or user and password_file"
    return "user must have no colon: HTTP's basic authentication ends the name there" if ":" in user else ""
