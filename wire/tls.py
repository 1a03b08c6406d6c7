"""Whom a client believes to be the broker, and by what it shows who it is: files that are read for each connection."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire.certificate import Life, life_of
from wire.files import SecretError, check_secret, stamp_of

MAX_CHAIN_BYTES: Final = 1 << 20
"""Of a certificate with its chain. Source: our choice; ten take some 15 KiB."""

Stamps = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one client, each in PEM.

    Attributes:
        ca_file: whose certificates a broker may show; those that the system trusts when it is left out.
        certificate_file: the client's own certificate, with its chain.
        key_file: the private key of it, which nobody else may read.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what a connection is made with.

        Raises:
            ValueError: a file cannot be used; the text names it.
        """
        context = self._trusting()
        if self.certificate_file is not None:
            self._show(context)
        return context

    def life(self) -> Life | None:
        """Return when the own certificate begins and ends, `None` without one.

        Raises:
            ValueError: it cannot be read.
        """
        if self.certificate_file is None:
            return None
        try:
            if not self.certificate_file.is_file():
                raise ValueError("there is no such file")
            with self.certificate_file.open("rb") as file:
                return life_of(file.read(MAX_CHAIN_BYTES).decode("ascii", "replace"))
        except OSError as error:
            raise ValueError(f"cannot read {self.certificate_file}: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"{self.certificate_file}: {error}") from error

    def known_life(self) -> Life | None:
        """Return when the own certificate begins and ends, `None` without one that can be read."""
        with contextlib.suppress(ValueError):
            return self.life()
        return None

    def stamps(self) -> Stamps:
        """Return what changes when one of the files does."""
        files = (self.ca_file, self.certificate_file, self.key_file)
        return tuple(stamp_of(file) for file in files if file is not None)

    def why_incomplete(self) -> str:
        """Return what is missing, empty when nothing is."""
        if (self.certificate_file is None) == (self.key_file is None):
            return ""
        return "give certificate_file and key_file, or neither"

    def _trusting(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            because = f"broker ca_file {str(self.ca_file)!r} holds no certificate that can be used: {_text_of(error)}"
            raise ValueError(because) from error

    def _show(self, context: ssl.SSLContext) -> None:
        if self.key_file is None or self.certificate_file is None:
            raise ValueError(self.why_incomplete())
        self.life()
        try:
            check_secret(self.key_file)
            context.load_cert_chain(self.certificate_file, self.key_file, password=_nobody_asks)
        except SecretError as error:
            raise ValueError(str(error)) from error
        except ssl.SSLError as error:
            pair = f"{self.certificate_file} and {self.key_file}"
            raise ValueError(f"{pair} are no certificate and the key of it, without a password: {error}") from error
        except OSError as error:
            raise ValueError(f"cannot read {error.filename or self.key_file}: {error.strerror}") from error


def _nobody_asks() -> str:
    """Stand for the password of a key: without it the library would ask on the terminal and wait."""
    return ""


def _text_of(error: OSError) -> str:
    return error.strerror or str(error)
