"""The files by which a host proves who it is: made here, replaced whole, and never half of one identity with another's.

The key is written before anybody is asked, so that a host whose answer was lost asks again with the same one; it takes
its place last of all, when all else is there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from cli.client import Failed
from cli.enrolment.settings_file import Named
from cli.exit_codes import ExitCode
from controller.access.files import write
from controller.pki import certificates
from controller.pki.certificates import CertificateError
from wire.files import MAX_SECRET_BYTES

FOLDER: Final = Path("/etc/fleetmend/agent")
USER: Final = "fleetmend-agent"
PUBLIC: Final = 0o644


@dataclass(frozen=True, slots=True)
class Identity:
    """The files of one host's identity, in a folder that belongs to the agent's user."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The node's certificate, with its chain."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """Its private key, which never leaves this host."""
        return self.folder / "key.pem"

    @property
    def authorities(self) -> Path:
        """The CAs that the cell's own certificates are signed with."""
        return self.folder / "ca.pem"

    @property
    def controllers(self) -> Path:
        """The CA of the controllers, where the person who enrolled the host named another."""
        return self.folder / "controller-ca.pem"

    @property
    def _coming(self) -> Path:
        return self.folder / "key.pem.coming"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Have the files to oneself; the folder is made if it is not there.

        Raises:
            Failed: the folder cannot be used, or somebody else is at it.
        """
        with _told(self.folder):
            self._make()
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Failed(f"another fleetmend enrol is at {self.folder}", ExitCode.REFUSED_NOW) from error
        try:
            yield
        finally:
            os.close(descriptor)

    def _make(self) -> None:
        if self.folder.exists():
            return
        self.folder.mkdir(mode=0o700, parents=True)
        if os.geteuid() == 0 and (user := _agent_user()) is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    def coming_key(self) -> certificates.AuthorityKey:
        """Return the key to ask with: that of an attempt whose answer never came, or a new one, written down.

        Raises:
            Failed: it cannot be read or written.
        """
        with _told(self._coming):
            if self._coming.is_symlink() or self._coming.exists():
                return certificates.key_from_pem(_own_bytes(self._coming))
            key = certificates.new_key()
            write(self._coming, certificates.key_to_pem(key))
            return key

    def take(self, given: dict[str, Any], key: certificates.AuthorityKey) -> x509.Certificate:
        """Put a new identity in its place, but for the mark that it is there whole (`settled`).

        Raises:
            Failed: it is not for this key, or cannot be written.
        """
        certificate = check_given(given, key)
        with _told(self.folder):
            write(self.authorities, given["authorities"].encode(), mode=PUBLIC)
            write(self.key, certificates.key_to_pem(key))
            write(self.certificate, given["certificate"].encode(), mode=PUBLIC)
        return certificate

    def settled(self) -> None:
        """All of it is there, the agent's settings too: the next attempt is one of its own."""
        with _told(self._coming):
            self._coming.unlink(missing_ok=True)

    def keep_authority(self, pem: bytes) -> None:
        """Keep the CA of the controllers, for renewals.

        Raises:
            Failed: it cannot be written.
        """
        with _told(self.controllers):
            write(self.controllers, pem, mode=PUBLIC)


def renewed(given: dict[str, Any], key: certificates.AuthorityKey, named: Named) -> x509.Certificate:
    """Put a renewed certificate and its new key in their places, before them the CAs if they lie beside and are others.

    The new key lies beside the old one until the certificate has its place: `read_pair` ends what was cut off there.

    Raises:
        Failed: it is not for this key, or cannot be written.
    """
    fresh, bundle = check_given(given, key), given["authorities"].encode()
    certificate, authorities = named.certificate, named.authorities
    with _told(certificate):
        if authorities is not None and authorities.parent == certificate.parent and authorities.read_bytes() != bundle:
            write(authorities, bundle, mode=PUBLIC)
        write(_following(named.key), certificates.key_to_pem(key))
        write(certificate, given["certificate"].encode(), mode=PUBLIC)
        _following(named.key).replace(named.key)
    return fresh


def check_given(given: dict[str, Any], key: certificates.AuthorityKey) -> x509.Certificate:
    """Return the certificate that a controller gave, if it is for this key and the rest can be read.

    Raises:
        Failed: it is not.
    """
    try:
        certificate = certificates.from_pem(given["certificate"].encode())[0]
        certificates.from_pem(given["authorities"].encode())
    except CertificateError as error:
        raise Failed(f"what the controller gave cannot be used: {error}", ExitCode.UNREACHABLE) from error
    if not _is_key_of(key, certificate) or certificates.describe(certificate).common_name != given["node"]:
        raise Failed("the controller gave a certificate for another key or name", ExitCode.UNREACHABLE)
    return certificate


def renewed_from(certificate: x509.Certificate) -> datetime:
    """Return when a third of a certificate's life is left."""
    life: timedelta = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - life / 3


def read_pair(certificate: Path, key: Path) -> tuple[x509.Certificate, certificates.AuthorityKey]:
    """Return a certificate and its private key; of a renewal that was cut off the key is put in its place first.

    Raises:
        Failed: one of them cannot be read, or they do not belong together.
    """
    with _told(certificate, ExitCode.NO_INPUT):
        found = certificates.from_pem(certificate.read_bytes())[0]
    with _told(key, ExitCode.NO_INPUT):
        private = certificates.key_from_pem(key.read_bytes())
        if _is_key_of(private, found):
            return found, private
        following = _following(key)
        if following.exists():
            private = certificates.key_from_pem(following.read_bytes())
            if _is_key_of(private, found):
                following.replace(key)
                return found, private
    raise Failed(f"{key} is not the key of {certificate}: enrol the host anew", ExitCode.BAD_DATA)


def _is_key_of(key: certificates.AuthorityKey, certificate: x509.Certificate) -> bool:
    return certificates.public_bytes(certificate) == certificates.public_bytes(key)


def _following(key: Path) -> Path:
    """Return where the key waits that is to take a key's place."""
    return key.with_name(f"{key.name}.next")


def _own_bytes(path: Path) -> bytes:
    """Return what a file holds, if it belongs to whom its folder belongs to.

    Root reads it in a folder of the agent's user, and writes what it read for that user: a link there, to a key that
    root alone may read, would hand that key over.

    Raises:
        Failed: it is a link, no file, or another's.
        OSError: it cannot be read.
    """
    owner = path.parent.stat().st_uid
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Failed(f"{path} is a link, which fleetmend did not make: remove it", ExitCode.BAD_DATA) from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
            raise Failed(f"{path} is no file of whom {path.parent} belongs to: remove it", ExitCode.BAD_DATA)
        return file.read(MAX_SECRET_BYTES)


def _agent_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


@contextmanager
def _told(path: Path, code: ExitCode = ExitCode.NO_OUTPUT) -> Iterator[None]:
    """Turn what can go wrong with files into a sentence."""
    try:
        yield
    except OSError as error:
        raise Failed(f"{error.filename or path}: {error.strerror}", code) from error
    except CertificateError as error:
        raise Failed(f"{path}: {error}", ExitCode.BAD_DATA) from error
