"""What an authority gave out: one file a name, so that each stays small however often its certificate is renewed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from controller.access.files import write
from controller.pki.certificates import Described, Kind
from controller.pki.folder import AuthorityError, content, make_private


class Record(msgspec.Struct, frozen=True):
    """A certificate as it was given out. Times are Unix seconds; `serial` and `issuer` as `Described` has them."""

    serial: str
    name: str
    kind: Kind
    issuer: str
    issued_at: float
    expires_at: float

    def is_good(self, now: datetime) -> bool:
        """Return whether it has not expired."""
        return now.timestamp() < self.expires_at


class _File(msgspec.Struct, frozen=True):
    certificates: list[Record]


_decoder = msgspec.json.Decoder(_File)


@dataclass(frozen=True, slots=True)
class Records:
    """The records in a folder, which is made with the first."""

    folder: Path

    def all(self) -> list[Record]:
        """Return all that was given out and is not forgotten, by name and time.

        Raises:
            AuthorityError: a file cannot be read.
        """
        return [record for file in sorted(self.folder.glob("*.json")) for record in _read(file)]

    def of(self, name: str) -> list[Record]:
        """Return what a name was given and is not forgotten, by time.

        Raises:
            AuthorityError: the file cannot be read.
        """
        file = self.folder / f"{name}.json"
        return _read(file) if file.exists() else []

    def matching(self, which: str) -> list[Record]:
        """Return those of a name, or the one of a serial."""
        serial = which.replace(":", "").upper()
        return [each for each in self.all() if which == each.name or serial == each.serial]

    def add(self, signed: Described, kind: Kind, *, now: datetime) -> None:
        """Write down what a name was given, and forget what of it expired.

        Raises:
            AuthorityError: the file cannot be read.
            OSError: it cannot be written.
        """
        fresh = Record(
            serial=signed.serial,
            name=signed.common_name,
            kind=kind,
            issuer=signed.issuer,
            issued_at=now.timestamp(),
            expires_at=signed.expires_at.timestamp(),
        )
        make_private(self.folder)
        file = self.folder / f"{signed.common_name}.json"
        kept = [each for each in self.of(signed.common_name) if each.is_good(now)]
        write(file, msgspec.json.format(msgspec.json.encode(_File([*kept, fresh]))))


def _read(file: Path) -> list[Record]:
    try:
        return _decoder.decode(content(file)).certificates
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AuthorityError(f"{file} holds no record of certificates: {error}") from error
