"""A socket that reads as much as there is, and hands it out in the small pieces that are asked for.

paho asks for one byte, then for another, then for the rest of a packet: three calls of the kernel for each message,
which cost a controller that hears thousands a second a sixth of its time. Whole messages that are here already can be
taken past paho (`take_publish`).
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

from wire.packets import Publish, publish_at

NO_DELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""Else a small message waits up to 40 ms for the acknowledgement of the one before it (Nagle's algorithm, RFC 896)."""

CHUNK_BYTES: Final = 1 << 16


class ReadAhead:
    """Wraps a non-blocking socket; all but reading is the socket's own.

    Attributes:
        failure: why reading failed for good, in the words of TLS or of the system; empty when it did not.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.failure = ""
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
            self._chunk, self._at = self._more(), 0
        piece = self._chunk[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _more(self) -> bytes:
        try:
            found: bytes = self._sock.recv(CHUNK_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            self.failure = (reason or str(error)).replace("_", " ").lower()
            raise
        return found

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


def reading_ahead(sock: Any) -> ReadAhead:
    """Return a TCP socket, with TLS or without, that reads ahead and sends small messages at once."""
    sock.setsockopt(*NO_DELAY)
    return ReadAhead(sock)
