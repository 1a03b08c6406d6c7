"""The listener's certificate: read anew at a handshake when its files changed, so that none has to be restarted."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from wire.files import stamp_of

log = structlog.get_logger()

Stamps = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class ListenerTls:
    """A certificate with its key, and whose certificates clients have to show.

    Attributes:
        client_ca: CA of the clients' certificates; with it nobody is answered who shows none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    _stamps: Stamps = ()
    _now: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        """Read the files.

        Raises:
            OSError: one cannot be read, or they do not belong together.
        """
        self._stamps, self._now = self._stamped(), self._read()

    def context(self) -> ssl.SSLContext:
        """Return what a server listens with; each handshake uses the files as they are then."""
        listening = self._read()
        listening.sni_callback = self._choose
        return listening

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        stamps = self._stamped()
        if stamps != self._stamps:
            self._stamps = stamps
            self._read_anew()
        connection.context = self._now

    def _read_anew(self) -> None:
        try:
            self._now = self._read()
        except OSError as error:
            log.error("certificate.unusable", file=str(self.certificate), because=error.strerror or str(error))
        else:
            log.info("certificate.read", file=str(self.certificate))

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        # A ticket would let in who showed a certificate once, also after its CA was replaced.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _stamped(self) -> Stamps:
        files = (self.certificate, self.key, self.client_ca)
        return tuple(stamp_of(file) for file in files if file is not None)
