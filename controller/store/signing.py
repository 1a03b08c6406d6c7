"""Who signs for a cell: its log and its orders by one key."""

from __future__ import annotations

from pathlib import Path

from controller import keys
from controller.settings import ControllerSettings
from controller.store.seals import KnownKeys, Signer


def key_file(settings: ControllerSettings) -> Path:
    """Return where the controller's signing key is, whether there is one or not."""
    return settings.signing_key or settings.state / "signing-key.pem"


def signer_of(settings: ControllerSettings) -> Signer:
    """Return who signs for these settings, by the key as it is in its file now.

    Raises:
        KeyFileError: there is no key, or it or one before it cannot be used.
    """
    path = key_file(settings)
    key = keys.load(path)
    return Signer(keys.key_id(key), key, KnownKeys(settings.cell, keys.known(path)))
