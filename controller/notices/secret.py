"""Secrets of other systems: each in a file of its own that nobody else may read."""

from __future__ import annotations

from pathlib import Path

from controller.settings import SettingsError
from wire.files import MAX_SECRET_BYTES, why_open


def read_secret(path: Path, key: str) -> str:
    """Return what a file holds: one line, without its end.

    Args:
        key: of the settings, for messages, e.g. `token_file`.

    Raises:
        SettingsError: it cannot be read, can be read by others, is empty or has several lines.
    """
    lines = read_secrets(path, key)
    if len(lines) > 1:
        raise SettingsError(f"{key}: {path} must hold one line and nothing else")
    return lines[0]


def read_secrets(path: Path, key: str) -> list[str]:
    """Return the lines of a file, without those that are empty or begin with `#`. Raises as `read_secret` does."""
    try:
        if because := why_open(path, path.stat()):
            raise SettingsError(f"{key}: {because}")
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_BYTES).decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{key}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{key}: {path} is no text") from error
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise SettingsError(f"{key}: {path} is empty")
    if not all(line.isprintable() for line in found):
        raise SettingsError(f"{key}: {path} holds characters that cannot be printed")
    return found
