"""The controller's signing key: an Ed25519 key in a file that only its owner can read.

Beside it lie, in a file of their own, the public halves of the keys that were in its place before: what they signed
stays good.
"""

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

from controller import durable

KEY_BYTES = 32
"""Of an Ed25519 public key. Source: RFC 8032, 5.1.5."""


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


def load(path: Path) -> Ed25519PrivateKey:
    """Return the key in the file.

    Raises:
        KeyFileError: there is none, or it cannot be used.
    """
    if not path.exists():
        raise KeyFileError(f"{path} is not there")
    return load_or_make(path)


def known(path: Path) -> dict[str, bytes]:
    """Return the public halves of the key in the file and of those before it, by their ids.

    Raises:
        KeyFileError: one of them cannot be used.
    """
    return {**retired(path), **public_half(load(path))}


def public_half(key: Ed25519PrivateKey) -> dict[str, bytes]:
    """Return a key's id and the 32 bytes of its public half."""
    return {key_id(key): key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)}


def retired_file(path: Path) -> Path:
    """Return where the public halves are of the keys that were in a file before."""
    return path.with_suffix(".retired")


def retired(path: Path) -> dict[str, bytes]:
    """Return the public halves of the keys that were in a file before, by their ids.

    Raises:
        KeyFileError: they cannot be read.
    """
    file = retired_file(path)
    if not file.exists():
        return {}
    try:
        return public_keys(file.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{file} cannot be read: {error}") from error


def public_keys(text: str) -> dict[str, bytes]:
    """Return the public keys that lines of `id key` name; what begins with # is left out.

    Raises:
        ValueError: a line is none of these.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, encoded = line.strip().partition(" ")
        key = base64.b64decode(encoded.strip(), validate=True)
        if len(key) != KEY_BYTES or name != _short(base64.b64encode(key).decode()):
            raise ValueError(f"line {number} is not the id of a key and the key in base64")
        found[name] = key
    return found


class NoNextKey(KeyFileError):
    """There is nothing to rotate to."""


def following(path: Path) -> Ed25519PrivateKey | None:
    """Return the key that is to take the place of the one in the file, `None` when none is made.

    Raises:
        KeyFileError: it cannot be used.
    """
    file = _next_file(path)
    return load(file) if file.exists() else None


def prepare(path: Path) -> Ed25519PrivateKey:
    """Return the key that is to take the place of the one in the file, making it when there is none.

    Raises:
        KeyFileError: it cannot be used.
    """
    return load_or_make(_next_file(path))


def rotate(path: Path) -> tuple[Ed25519PrivateKey, Ed25519PrivateKey]:
    """Put the next key in its place, and return the old one and the new one.

    The old one's public half is written down first: killed in between, both are there, and this may be done again.

    Raises:
        NoNextKey: none was made.
        KeyFileError: one of them cannot be used.
    """
    old, new = load(path), following(path)
    if new is None:
        raise NoNextKey(f"no key follows {path}: `fleetmend keys prepare` makes one; nodes must trust it first")
    if key_id(old) not in retired(path):
        file = retired_file(path)
        before = file.read_bytes() if file.exists() else b""
        durable.replace(file, before + f"{line_of(old)}\n".encode())
    _next_file(path).replace(path)
    durable.sync_directory(path.parent)
    return old, new


def line_of(key: Ed25519PrivateKey) -> str:
    """Return a key's id and its public half, as `public_keys` reads them."""
    return f"{key_id(key)} {public_text(key)}"


def table_of(key: Ed25519PrivateKey) -> str:
    """Return the table of an agent's settings that has it trust a key."""
    return f'[trusted_keys.{key_id(key)}]\npublic_key = "{public_text(key)}"'


def _next_file(path: Path) -> Path:
    return path.with_suffix(".next.pem")


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        durable.leave_to_owner(descriptor, path)
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half as nodes are given it: base64 of its 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def key_id(key: Ed25519PrivateKey) -> str:
    """Return the short name of a key: the first 16 letters of its public half, safe in a topic and a file name."""
    return _short(public_text(key))


def _short(public: str) -> str:
    return public[:16].replace("/", "_").replace("+", "-")
