"""A certificate authority in a folder: who was given which certificate, and which of them are good no more.

`ca.pem` holds every CA that is to be trusted, `ca-key.pem` the key of the one that signs, `crl.pem` the revocation list
of each, `issued/<name>.json` what a name was given, and `other-keys/` the keys of CAs that are to sign or have signed.
Every change is made under a lock, and in an order by which a kill in between leaves what can be used.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from controller.access.files import write
from controller.pki import certificates
from controller.pki.certificates import CA_DAYS, CertificateError, Described, Kind, Signer, Wanted
from controller.pki.folder import AuthorityError, content, is_founded, make_private, secret
from controller.pki.records import Record, Records
from controller.pki.requests import new_request, read_request

__all__ = ["Authority", "AuthorityError", "Issued", "Record", "utc_now"]

DEFAULT_FOLDER: Final = Path("/etc/fleetmend/pki")
PUBLIC: Final = 0o644


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with the key that was made for it, both in PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Now:
    """What lies in the folder."""

    signer: Signer
    trusted: list[x509.Certificate]
    lists: dict[str, x509.CertificateRevocationList]

    def newest(self) -> x509.Certificate:
        """Return the CA that was made last: the one that signs, or the one that will."""
        return max(self.trusted, key=lambda each: each.not_valid_before_utc)

    def others(self) -> list[x509.Certificate]:
        """Return the CAs that are trusted and do not sign."""
        return [each for each in self.trusted if each != self.signer.certificate]

    def revoked(self) -> set[str]:
        """Return the serials that are good no more."""
        return {certificates.spell_serial(each.serial_number) for crl in self.lists.values() for each in crl}


class Authority:
    """The authority in a folder. Each act reads the folder anew, so that several processes may share it."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; `load` and `found` make sure that there is an authority in it."""
        self.folder = folder

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Return the authority in a folder.

        Raises:
            AuthorityError: there is none, or its files cannot be used or can be read by others.
        """
        authority = cls(folder)
        authority._read()
        return authority

    @classmethod
    def found(cls, folder: Path, *, now: datetime, days: int = CA_DAYS) -> Authority:
        """Make an authority in a folder that has none.

        Raises:
            AuthorityError: there is one, or the folder cannot be written.
        """
        authority = cls(folder)
        with authority._changing(make=True):
            if is_founded(folder):
                raise AuthorityError(f"{folder} has a certificate authority already: nothing was changed")
            key = authority._first_key()
            signer = Signer(certificates.new_authority(key, days=days, now=now), key)
            write(authority._key, certificates.key_to_pem(key))
            authority._write_lists([signer.revoke((), before=None, now=now)])
            write(authority._bundle, certificates.to_pem([signer.certificate]), mode=PUBLIC)
        return authority

    def bundle(self) -> bytes:
        """Return the CAs that are to be trusted, in PEM: what nodes and brokers get as `ca.pem`."""
        return certificates.to_pem(self._read().trusted)

    def authorities(self) -> list[Described]:
        """Return the CAs that are trusted, the one that signs first."""
        now = self._read()
        return [certificates.describe(each) for each in (now.signer.certificate, *now.others())]

    def issued(self) -> list[Record]:
        """Return all that was given out and not yet forgotten, by name and time.

        Raises:
            AuthorityError: a record cannot be read.
        """
        return self._records.all()

    def issued_to(self, name: str) -> list[Record]:
        """Return what a name was given and is not yet forgotten, by time.

        Raises:
            AuthorityError: its record cannot be read.
        """
        return self._records.of(name)

    def revoked(self) -> set[str]:
        """Return the serials that are good no more."""
        return self._read().revoked()

    def sign(
        self, csr_pem: bytes, *, common_name: str, kind: Kind, days: int, now: datetime, hosts: tuple[str, ...] = ()
    ) -> bytes:
        """Return a certificate for the key of a request, as a PEM chain: it alone, for the CA that signs is a root.

        Of the request the key alone is used: name, kind and hosts are the caller's. It ends with the CA at the latest.

        Raises:
            AuthorityError: the request, the name or the time is wrong, or the CA has expired.
        """
        try:
            request = read_request(csr_pem)
            wanted = Wanted(common_name, kind, days, hosts)
            with self._changing():
                signed = self._read().signer.sign(request, wanted, now=now)
                self._records.add(certificates.describe(signed), kind, now=now)
        except CertificateError as error:
            raise AuthorityError(str(error)) from error
        return certificates.to_pem([signed])

    def issue(self, *, common_name: str, kind: Kind, days: int, now: datetime, hosts: tuple[str, ...] = ()) -> Issued:
        """Return a new key and its certificate. The key is kept nowhere.

        Raises:
            AuthorityError: as `sign` does.
        """
        key = certificates.new_key()
        try:
            request = new_request(key, common_name)
        except ValueError as error:
            raise AuthorityError(f"{common_name!r} cannot be a certificate's name: {error}") from error
        chain = self.sign(request, common_name=common_name, kind=kind, days=days, now=now, hosts=hosts)
        return Issued(chain, certificates.key_to_pem(key))

    def revoke(self, which: str, *, now: datetime) -> list[Record]:
        """Revoke what a name was given, or the certificate of one serial, and return what is good no more by this.

        Raises:
            AuthorityError: there is no such certificate that is still good.
        """
        with self._changing():
            state = self._read()
            revoked = state.revoked()
            gone = [
                each
                for each in self._records.matching(which)
                if each.is_good(now) and each.serial not in revoked and each.issuer in state.lists
            ]
            if not gone:
                raise AuthorityError(f"{self.folder} has no good certificate of the name or serial {which!r}")
            self._write_lists([self._longer(state, each, gone, now) for each in state.trusted])
        return gone

    def prepare(self, *, now: datetime, days: int = CA_DAYS) -> Described:
        """Make the CA that is to sign next, to be trusted beside the one that signs; asked again, return the same.

        Raises:
            AuthorityError: the CA before the one that signs is not retired yet.
        """
        with self._changing():
            state = self._read()
            if _is_prepared(state):
                return certificates.describe(state.newest())
            if state.others():
                raise AuthorityError("the CA from before still is trusted: retire it first")
            key = certificates.new_key()
            made = certificates.new_authority(key, days=days, now=now, before=state.signer.certificate)
            following = Signer(made, key)
            self._write_other(following)
            self._write_lists([*state.lists.values(), following.revoke((), before=None, now=now)])
            self._write_bundle([state.signer.certificate, following.certificate])
        return certificates.describe(following.certificate)

    def switch(self) -> Described:
        """Let the CA that was prepared sign from now on. The one before stays trusted.

        Raises:
            AuthorityError: none was prepared.
        """
        with self._changing():
            state = self._read()
            if not _is_prepared(state):
                raise AuthorityError(f"{self.folder} has no CA that is to follow: prepare one first")
            following = self._other(state.newest())
            self._write_other(state.signer)
            write(self._key, certificates.key_to_pem(following.key))
            self._write_bundle([following.certificate, state.signer.certificate])
            self._other_key(following.certificate).unlink()
        return certificates.describe(following.certificate)

    def dependent(self, *, now: datetime) -> list[Record]:
        """Return what was signed by a CA that signs no more, is good, and has none after it by the one that signs."""
        state = self._read()
        ours, revoked = state.signer.name, state.revoked()
        good = [each for each in self.issued() if each.is_good(now) and each.serial not in revoked]
        renewed = {each.name for each in good if each.issuer == ours}
        return [each for each in good if each.issuer != ours and each.name not in renewed]

    def retire(self) -> list[Described]:
        """Trust the CA that signs alone, and return those that no longer are trusted. Their keys are deleted.

        Raises:
            AuthorityError: there is none to retire, or the other one is to follow.
        """
        with self._changing():
            state = self._read()
            others = state.others()
            if not others or _is_prepared(state):
                raise AuthorityError(f"{self.folder} has no CA from before: there is nothing to retire")
            # First of all: killed later, this is done again, and no key is left of which nothing speaks any more.
            for each in self._other_keys.glob("*.pem*"):
                each.unlink(missing_ok=True)
            self._write_bundle([state.signer.certificate])
            self._write_lists([state.lists[state.signer.name]])
        return [certificates.describe(each) for each in others]

    @property
    def _bundle(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def _key(self) -> Path:
        return self.folder / "ca-key.pem"

    @property
    def _list(self) -> Path:
        return self.folder / "crl.pem"

    @property
    def _records(self) -> Records:
        return Records(self.folder / "issued")

    @property
    def _other_keys(self) -> Path:
        return self.folder / "other-keys"

    def _other_key(self, certificate: x509.Certificate) -> Path:
        return self._other_keys / f"{certificates.fingerprint(certificate).removeprefix('SHA256:')[:32]}.pem"

    def _read(self) -> _Now:
        try:
            trusted = certificates.from_pem(content(self._bundle))
            key = certificates.key_from_pem(secret(self._key))
        except CertificateError as error:
            raise AuthorityError(f"the authority in {self.folder} cannot be used: {error}") from error
        wanted = certificates.public_bytes(key)
        ours = [each for each in trusted if certificates.public_bytes(each) == wanted]
        if not ours:
            raise AuthorityError(f"{self._key} is the key of none of the CAs in {self._bundle}")
        return _Now(Signer(ours[0], key), trusted, self._read_lists(trusted))

    def _read_lists(self, trusted: Sequence[x509.Certificate]) -> dict[str, x509.CertificateRevocationList]:
        try:
            lists = certificates.lists_from_pem(content(self._list))
        except CertificateError as error:
            raise AuthorityError(f"{self._list} cannot be used: {error}") from error
        by_issuer = {each.issuer: each for each in lists}
        missing = [each for each in trusted if each.subject not in by_issuer]
        if missing:
            raise AuthorityError(f"{self._list} has no revocation list of {certificates.describe(missing[0]).issuer}")
        return {certificates.describe(each).common_name: by_issuer[each.subject] for each in trusted}

    def _first_key(self) -> certificates.AuthorityKey:
        """Return a new key, or the one that was made here and signed nothing: whoever made it was killed."""
        return certificates.key_from_pem(secret(self._key)) if self._key.exists() else certificates.new_key()

    def _other(self, certificate: x509.Certificate) -> Signer:
        return Signer(certificate, certificates.key_from_pem(secret(self._other_key(certificate))))

    def _longer(
        self, state: _Now, certificate: x509.Certificate, gone: Sequence[Record], now: datetime
    ) -> x509.CertificateRevocationList:
        """Return a CA's list with what is gone now in it, if it is of this CA."""
        is_signing = certificate == state.signer.certificate
        signer = state.signer if is_signing else self._other(certificate)
        before = state.lists[signer.name]
        fresh = [
            certificates.revoked_entry(int(each.serial, 16), now=now) for each in gone if each.issuer == signer.name
        ]
        return signer.revoke([*before, *fresh], before=before.last_update_utc, now=now) if fresh else before

    def _write_bundle(self, trusted: Sequence[x509.Certificate]) -> None:
        write(self._bundle, certificates.to_pem(trusted), mode=PUBLIC)

    def _write_lists(self, lists: Sequence[x509.CertificateRevocationList]) -> None:
        write(self._list, certificates.lists_to_pem(lists), mode=PUBLIC)

    def _write_other(self, signer: Signer) -> None:
        make_private(self._other_keys)
        write(self._other_key(signer.certificate), certificates.key_to_pem(signer.key))

    @contextmanager
    def _changing(self, *, make: bool = False) -> Iterator[None]:
        """Keep others from changing the folder meanwhile, and say in a sentence what the disk refuses."""
        try:
            if make:
                self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise AuthorityError(f"{error.filename or self.folder} cannot be used: {error.strerror}") from error


def _is_prepared(state: _Now) -> bool:
    return state.newest() != state.signer.certificate


def utc_now() -> datetime:
    """Return the time now, as all here take it."""
    return datetime.now(UTC)
