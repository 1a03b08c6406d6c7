"""A socket that reads as much as there is, and hands it out in the small pieces that are asked for.

paho asks for one byte, then for another, then for the rest of a packet: three calls of the kernel for each message,
which cost a controller that hears thousands a second a sixth of its time. Whole messages that are here already can be
taken past paho (`take_publish`).
"""

from __future__ import annotations

import ssl
from typing import Any, Final

from wire.packets import Publish, publish_at

CHUNK_BYTES: Final = 1 << 16


class ReadAhead:
    """Wraps a non-blocking socket; all but reading is the socket's own."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._chunk = b""
        self._at = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, of what was read before if there is any.

        Raises:
            BlockingIOError, ssl.SSLWantReadError: nothing is there now.
        """
        if self._at == len(self._chunk):
            self._chunk, self._at = self._sock.recv(CHUNK_BYTES), 0
        piece = self._chunk[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def take_publish(self, *, has_properties: bool) -> Publish | None:
        """Return the message that comes next, if it is plain and here already; else nothing is taken.

        To be asked between two packets only.
        """
        if self._at == len(self._chunk):
            return None
        found = publish_at(self._chunk, self._at, has_properties=has_properties)
        if found is not None:
            self._at = found.ends_at
        return found

    def pending(self) -> int:
        """Return how many bytes are here already that no readiness of the socket will tell of."""
        in_tls = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) and self._sock.fileno() >= 0 else 0
        return len(self._chunk) - self._at + in_tls
