"""What an order allows a node to send of its evidence, beside the short answer that travels over MQTT.

A grant rides in the parameters of a signed order, so a node believes it as it believes the order. What it shows to the
controller in turn is the token in it, which the controller signed and nobody else can make (wire/grants.py): a node can
neither send more than it may, nor later, nor in the name of another node.

The upload itself speaks tus 1.0 (core, creation), see docs/how-to/evidence.md.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

PARAMETER: Final = "evidence"
"""Name of the order's parameter that holds a grant, as JSON."""

SINCE: Final = "since"
"""Name of the order's parameter that says when the fault began, Unix seconds: the window of logs begins before it."""

UPLOADS: Final = "/api/v1/evidence"
"""Where a controller takes bundles, after its address."""

TUS_VERSION: Final = "1.0.0"

UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")

MAX_LENGTH: Final = 2**40
"""No length or offset above is believed. Source: our choice; 1 TiB, a thousand times the largest bundle."""


class Grant(msgspec.Struct, frozen=True):
    """Leave to send one bundle.

    Attributes:
        upload: names the bundle for ever, 32 hexadecimal digits.
        where: `controller`: by tus to `url` with `token`; `s3`: part by part to `parts`.
        url: of the controller, scheme, host and port.
        most_bytes: a longer bundle is refused.
        expires_at: Unix seconds; nothing is taken after that.
        parts: S3: one presigned URL for each part, in order.
        part_bytes: S3: length of every part but the last.
    """

    upload: str
    where: Literal["controller", "s3"]
    most_bytes: int
    expires_at: float
    url: str = ""
    token: str = ""
    parts: tuple[str, ...] = ()
    part_bytes: int = 0


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the token of a grant says: who may send what for which incident, and until when."""

    upload: str
    node: str
    incident_id: str
    most_bytes: int
    expires_at: float


class BadUpload(ValueError):
    """A header of an upload that cannot be read; the text names it."""


_decoder = msgspec.json.Decoder(Grant)


def parameter_of(grant: Grant) -> dict[str, str]:
    """Return the grant as an order's parameter."""
    return {PARAMETER: msgspec.json.encode(grant).decode()}


def grant_in(parameters: Mapping[str, str]) -> Grant | None:
    """Return the grant that an order carries, `None` when it carries none.

    Raises:
        BadUpload: it carries one that cannot be used.
    """
    text = parameters.get(PARAMETER, "")
    if not text:
        return None
    try:
        grant = _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadUpload(f"the order's leave to send evidence cannot be read: {error}") from error
    if not UPLOAD_ID.fullmatch(grant.upload):
        raise BadUpload(f"the order's leave to send evidence names the upload {grant.upload[:40]!r}")
    if grant.where == "s3" and (not grant.parts or grant.part_bytes <= 0):
        raise BadUpload("the order's leave to send evidence to S3 has no parts")
    return grant


def parse_length(text: str | None, *, name: str) -> int:
    """Return the number of bytes that a header says.

    Raises:
        BadUpload: absent, no plain decimal number, or beyond belief.
    """
    if text is None or not re.fullmatch(r"[0-9]{1,15}", text):
        raise BadUpload(f"{name} must be a decimal number of bytes, not {(text or '')[:40]!r}")
    number = int(text)
    if number > MAX_LENGTH:
        raise BadUpload(f"{name} is {number}, beyond belief")
    return number


def parse_checksum(text: str | None) -> str:
    """Return the SHA-256, 64 hexadecimal digits, that `Upload-Metadata` names as `sha256`.

    Each of its pairs is a key and a value in base64, separated by a blank; pairs are separated by commas.

    Raises:
        BadUpload: there is none, or it is not one.
    """
    for pair in (text or "")[:4096].split(","):
        key, _, value = pair.strip().partition(" ")
        if key == "sha256":
            return _checked(value.strip())
    raise BadUpload("Upload-Metadata must name sha256")


def _checked(value: str) -> str:
    flaw = BadUpload("Upload-Metadata: sha256 is not 64 hexadecimal digits in base64")
    try:
        digest = b64decode(value, validate=True).decode("ascii")
    except ValueError as error:
        raise flaw from error
    if not SHA256.fullmatch(digest):
        raise flaw
    return digest


def metadata_of(sha256: str) -> str:
    """Return the `Upload-Metadata` that `parse_checksum` reads."""
    return f"sha256 {b64encode(sha256.encode()).decode()}"


def size_text(size_bytes: int) -> str:
    """Return a length for people: `14.5 KiB`, `36.0 MiB`."""
    if size_bytes < 1 << 20:
        return f"{size_bytes / (1 << 10):.1f} KiB"
    return f"{size_bytes / (1 << 20):.1f} MiB"
