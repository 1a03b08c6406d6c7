"""Secrets of other systems: each in a file of its own that nobody else may read."""

from __future__ import annotations

import os
from pathlib import Path

from controller.settings import SettingsError

MAX_SECRET_BYTES = 65_536
OTHERS = 0o077


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
        if path.stat().st_mode & OTHERS and not _is_credential(path):
            raise SettingsError(f"{key}: {path} can be read by others than its owner: chmod 600 {path}")
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


def _is_credential(path: Path) -> bool:
    """Return whether systemd made the file for this service; an access list of its own looks like rights of a group.

    Source: systemd.exec(5), `LoadCredential=`.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return bool(directory) and path.parent == Path(directory)
