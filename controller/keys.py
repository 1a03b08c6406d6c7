"""The controller's signing key: an Ed25519 key in a file that only its owner can read."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


class KeyFileError(Exception):
    """The key file cannot be used, with its name and why."""


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """Return the key in the file, making one when there is none.

    Raises:
        KeyFileError: unreadable, not a PEM key, not Ed25519, or readable by others.
    """
    if not path.exists():
        _make(path)
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others than its owner: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is no usable private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}, an Ed25519 key is needed")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half as nodes are given it: base64 of its 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def key_id(key: Ed25519PrivateKey) -> str:
    """Return the short name of a key: the first 16 letters of its public half, safe in a topic and a file name."""
    return public_text(key)[:16].replace("/", "_").replace("+", "-")
