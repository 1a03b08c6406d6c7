"""The process that sends one bundle: `python -m agent.bundles.send FOLDER RATE [CA_FILE]`.

It speaks plain HTTP with the standard library and goes on where the other end says that it is; never faster than it was
told to, so that the job on the node does not feel it. Its last line says how it went: `sent`, `later` or `failed`.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import http.client
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec

from agent.bundles.plan import BUNDLE, PARTS, Packed, Said, load_packed, load_plan
from wire.evidence import TUS_VERSION, UPLOADS, Grant, metadata_of

PIECE_BYTES: Final = 4 << 20
"""Of one request to a controller. Source: our choice; what a broken connection costs is sent again in half a second."""

READ_BYTES: Final = 1 << 16
TIMEOUT_S: Final = 30.0
PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""

LATER: Final = frozenset({408, 409, 423, 425, 429, 500, 502, 503, 504, 507})
"""Answers after which it may work another time. Source: RFC 9110, RFC 6585, tus 1.0.0; 507 when the operator made room.
"""

GONE: Final = frozenset({404})
"""Answer to a piece of a bundle that is no more where it was announced. Source: tus 1.0.0, core."""

MISMATCH: Final = frozenset({460})
"""What came is not what was announced, and was thrown away. Source: tus 1.0.0, extension checksum."""

ENDED_CONNECTION: Final = (OSError, http.client.HTTPException)


class Later(Exception):
    """It may work another time."""

    def __init__(self, because: str, *, after_s: float = 0.0) -> None:
        super().__init__(because)
        self.after_s = after_s


class Failed(Exception):
    """It will not work however often it is tried."""


@dataclass(slots=True)
class Pace:
    """Lets so many bytes a second through.

    Attributes:
        sleep: waits that many seconds.
    """

    bytes_per_s: int
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _free_at: float = 0.0

    def let_through(self, size: int) -> None:
        """Return when so many more bytes may go."""
        now = self.monotonic()
        self._free_at = max(self._free_at, now) + size / self.bytes_per_s
        if self._free_at > now:
            self.sleep(self._free_at - now)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other end answered. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    def check(self, *wanted: int) -> None:
        """Return if this was wanted.

        Raises:
            Later: not now.
            Failed: never.
        """
        if self.status in wanted:
            return
        because = f"HTTP {self.status}: {self.text[:300].strip()}"
        if self.status in LATER:
            raise Later(because, after_s=_seconds(self.headers.get("retry-after", "")))
        raise Failed(because)

    def offset(self) -> int:
        """Return how much the other end has.

        Raises:
            Failed: it does not say.
        """
        text = self.headers.get("upload-offset", "")
        if not text.isdecimal() or len(text) > 15:
            raise Failed(f"what answers is no controller: Upload-Offset is {text[:40]!r}")
        return int(text)


class Line:
    """A connection to one server, made anew whenever it broke."""

    def __init__(self, url: str, *, ca_file: str = "") -> None:
        """Connect at the first request."""
        self._parts, self._ca_file = urlsplit(url), ca_file
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, target: str, headers: dict[str, str], body: Iterator[bytes] | None = None) -> Answer:
        """Return the answer to a request.

        Raises:
            Later: nobody answers, or the connection broke.
        """
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request(method, self._parts.path.rstrip("/") + target, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read(65_536).decode("utf-8", "replace")
        except ENDED_CONNECTION as error:
            self.close()
            raise Later(f"{self._parts.netloc}: {str(error) or type(error).__name__}") from error
        if answer.will_close:
            self.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            trust = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            raise Failed(f"{self._ca_file}: {error}") from error
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=trust)


class Sending:
    """One bundle on its way."""

    def __init__(self, folder: Path, grant: Grant, packed: Packed, *, pace: Pace, ca_file: str = "") -> None:
        """Send nothing yet."""
        self._folder, self._grant, self._packed = folder, grant, packed
        self._pace, self._ca_file = pace, ca_file

    def send(self) -> None:
        """Send what the other end does not have.

        Raises:
            Later: it may work another time.
            Failed: it never will.
        """
        with (self._folder / BUNDLE).open("rb") as file:
            if self._grant.where == "s3":
                self._send_parts(file)
            else:
                self._send_to_controller(file)

    def _send_to_controller(self, file: IO[bytes]) -> None:
        line = Line(self._grant.url, ca_file=self._ca_file)
        with contextlib.closing(line):
            ours = {"Tus-Resumable": TUS_VERSION, "Authorization": f"Bearer {self._grant.token}"}
            size = self._packed.size_bytes
            announced = {"Upload-Length": str(size), "Upload-Metadata": metadata_of(self._packed.sha256)}
            answer = line.ask("POST", UPLOADS, {**ours, **announced, "Content-Length": "0"})
            self._check(answer, 201, thrown_away=MISMATCH)
            offset, target = answer.offset(), f"{UPLOADS}/{self._grant.upload}"
            while offset < size:
                length = min(PIECE_BYTES, size - offset)
                headers = {
                    **ours,
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/offset+octet-stream",
                    "Content-Length": str(length),
                }
                answer = line.ask("PATCH", target, headers, self._piece(file, offset, length))
                self._check(answer, 204, thrown_away=GONE | MISMATCH)
                offset = _further(offset, answer.offset(), size)

    def _check(self, answer: Answer, wanted: int, *, thrown_away: frozenset[int]) -> None:
        """Return if this was wanted. What the other end threw away is announced anew, as long as ours is whole."""
        if answer.status not in thrown_away:
            answer.check(wanted)
            return
        with (self._folder / BUNDLE).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self._packed.sha256:
            raise Failed(f"the bundle was damaged on this node: its SHA-256 is {found}, and was {self._packed.sha256}")
        raise Later(f"HTTP {answer.status}: {answer.text[:300].strip()}")

    def _send_parts(self, file: IO[bytes]) -> None:
        """Send part after part; which of them the store has is written down as they go."""
        done = _parts_done(self._folder / PARTS)
        length = self._grant.part_bytes
        for index, url in enumerate(self._grant.parts[: -(-self._packed.size_bytes // length)]):
            if index in done:
                continue
            self._send_part(file, url, offset=index * length, most=length)
            done.append(index)
            (self._folder / PARTS).write_bytes(msgspec.json.encode(done))

    def _send_part(self, file: IO[bytes], url: str, *, offset: int, most: int) -> None:
        parts = urlsplit(url)
        length = min(most, self._packed.size_bytes - offset)
        headers = {"Content-Length": str(length), "Content-MD5": _md5(file, offset, length)}
        with contextlib.closing(Line(f"{parts.scheme}://{parts.netloc}", ca_file=self._ca_file)) as line:
            target = f"{parts.path}?{parts.query}"
            line.ask("PUT", target, headers, self._piece(file, offset, length)).check(200)

    def _piece(self, file: IO[bytes], offset: int, length: int) -> Iterator[bytes]:
        file.seek(offset)
        while length > 0:
            piece = file.read(min(READ_BYTES, length))
            if not piece:
                raise Failed("the bundle became shorter while it was sent")
            self._pace.let_through(len(piece))
            length -= len(piece)
            yield piece


def _further(before: int, after: int, size: int) -> int:
    """Return where to go on. A server that never gets further must not keep anybody busy for ever."""
    if not before < after <= size:
        raise Failed(f"what answers is no controller: it was at {before}, and is at {after} of {size}")
    return after


def _parts_done(path: Path) -> list[int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[int])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []


def _md5(file: IO[bytes], offset: int, length: int) -> str:
    """Return what S3 wants as Content-MD5, by which it refuses a part that was damaged on its way."""
    digest = hashlib.md5(usedforsecurity=False)
    file.seek(offset)
    while length > 0 and (piece := file.read(min(READ_BYTES, length))):
        digest.update(piece)
        length -= len(piece)
    return base64.b64encode(digest.digest()).decode()


def _seconds(text: str) -> float:
    """Return what Retry-After says in seconds; a date is not waited for."""
    return min(float(text), 3_600.0) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0


def try_once(folder: Path, *, rate: int, ca_file: str) -> Said:
    """Send the bundle in a folder and return how that went."""
    try:
        plan, packed = load_plan(folder), load_packed(folder)
        Sending(folder, plan.grant, packed, pace=Pace(rate), ca_file=ca_file).send()
    except Later as later:
        return Said("later", str(later), later.after_s)
    except (Failed, OSError, ValueError, msgspec.MsgspecError) as error:
        return Said("failed", str(error))
    return Said("sent", "")


def main() -> None:
    """Send what lies in the folder that is named."""
    folder, rate, *ca_file = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(10)
    print(msgspec.json.encode(try_once(Path(folder), rate=int(rate), ca_file="".join(ca_file))).decode())


if __name__ == "__main__":
    main()
