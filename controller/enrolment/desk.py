"""Gives hosts their certificates: the one thing that decides, records and signs, one request after the other.

What a token was used for goes into the event log before anything is signed, and the certificate before it is handed
out. So a token is used once whoever asks at the same time, wherever this process is killed, and whichever controller
leads after that: who does not lead any more cannot write the log. A host whose answer was lost asks again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from controller.access.token_files import Shelf
from controller.api.cell_view import CellView
from controller.enrolment import proof
from controller.enrolment.deciding import Granted, Held, Turned, Wanted, check_token, decide
from controller.enrolment.refusals import Refusals
from controller.enrolment.tokens import EnrolmentToken
from controller.enrolment_events import CertificateIssued, EnrolmentGranted, EnrolmentRefused
from controller.pki import certificates
from controller.pki.authority import Authority
from controller.pki.certificates import CertificateError, Described, Kind
from controller.pki.folder import AuthorityError
from controller.pki.requests import read_request

Result = TypeVar("Result")

MAX_ADDRESS: Final = 64


@dataclass(frozen=True, slots=True)
class Given:
    """What a host is told besides its certificate.

    Attributes:
        broker_url: where it reaches the broker, each node of a clustered one.
        trusted_keys: key id → public key of orders, in base64; called anew for each host, for keys change.
    """

    cell: str
    broker_url: tuple[str, ...]
    trusted_keys: Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a host gets. `certificate` and `authorities` are PEM; the rest is as `Given` has it."""

    node: str
    certificate: str
    authorities: str
    cell: str
    broker_url: list[str]
    trusted_keys: dict[str, str]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, as far as it is known before anything is judged. `address`: where from."""

    node: str
    csr_pem: bytes
    address: str


@dataclass(slots=True)
class EnrolmentDesk:
    """Enrols hosts and renews their certificates.

    Attributes:
        days: a certificate is good for so long.
        clock: Unix seconds.
    """

    cell: CellView
    authority: Authority
    tokens: Shelf[EnrolmentToken]
    given: Given
    days: int
    refusals: Refusals
    clock: Callable[[], float]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def enrol(self, asking: Asking, token_text: str) -> Identity:
        """Return the identity of a host that shows a token.

        Raises:
            Turned: it gets none, with the reason. Nothing of the token is used but by a host that may ask again.
        """
        async with self._noting("enrol", asking):
            token = check_token(self.tokens.shown(token_text), asking.node, self.clock())
            wanted = Wanted(asking.node, _key_of(asking, token.id))
            async with self._turn:
                granted = await self._grant(wanted, token, asking)
                return await self._issue(asking, granted.because, wanted.key, token=token)

    async def renew(self, text: str, address: str, count: Callable[[str], None]) -> Identity:
        """Return the next identity of a host that shows, by a proof, that it has a good one.

        Args:
            count: raises Problem when a node renews too often.

        Raises:
            Turned: it gets none, with the reason.
        """
        async with self._noting("renew", Asking("", b"", address)):
            shown = self._read_proof(text)
        described = shown.described
        asking = Asking(described.common_name, shown.csr_pem, address)
        async with self._noting("renew", asking):
            await self._check_certificate(shown.certificate, described)
            key = _key_of(asking, "")
            count(asking.node)
            async with self._turn:
                return await self._issue(asking, f"{asking.node} renews by its certificate {described.serial}.", key)

    async def note(self, what: str, asking: Asking, because: str, token_id: str = "") -> None:
        """Have it in the log that somebody was turned away."""
        claimed, why = _plain(asking.node), _plain(because)
        await self.refusals.note(EnrolmentRefused(what, claimed, asking.address[:MAX_ADDRESS], why, token_id))

    @asynccontextmanager
    async def _noting(self, what: str, asking: Asking) -> AsyncIterator[None]:
        try:
            yield
        except Turned as turned:
            await self.note(what, asking, turned.error, turned.token_id)
            raise

    def _read_proof(self, text: str) -> proof.Shown:
        try:
            return proof.read(text, cell=self.given.cell, now=self.clock())
        except proof.BadProof as error:
            raise Turned(401, f"the proof is of no use: {error}", _ENROL_AGAIN) from error

    async def authorities(self) -> str:
        """Return the CAs that are trusted, in PEM.

        Raises:
            Turned: 503, there is no authority here.
        """
        return (await _signing(self.authority.bundle)).decode()

    async def _grant(self, wanted: Wanted, token: EnrolmentToken, asking: Asking) -> Granted:
        held = await _signing(lambda: self._held(wanted.node))
        granted = decide(wanted, token, self.cell.belief.enrolments, held, now=self.clock())
        address, ends_at = asking.address[:MAX_ADDRESS], token.expires_at
        await self.cell.submit(
            EnrolmentGranted(wanted.node, token.id, wanted.key, address, ends_at, granted.because, granted.again)
        )
        return granted

    async def _issue(self, asking: Asking, because: str, key: str, *, token: EnrolmentToken | None = None) -> Identity:
        now = datetime.fromtimestamp(self.clock(), UTC)
        chain = await _signing(
            lambda: self.authority.sign(
                asking.csr_pem, common_name=asking.node, kind=Kind.AGENT, days=self.days, now=now
            )
        )
        signed = certificates.describe(certificates.from_pem(chain)[0])
        replaces = await _signing(lambda: self._revoke_others(signed, now)) if token and token.replace else []
        await self.cell.submit(
            CertificateIssued(
                asking.node,
                signed.serial,
                key,
                asking.address[:MAX_ADDRESS],
                signed.expires_at.timestamp(),
                because,
                token.id if token else "",
                replaces,
            )
        )
        keys = dict(self.given.trusted_keys())
        given = self.given
        return Identity(asking.node, chain.decode(), await self.authorities(), given.cell, list(given.broker_url), keys)

    def _held(self, node: str) -> Held:
        now, revoked = datetime.fromtimestamp(self.clock(), UTC), self.authority.revoked()
        good = [each.serial for each in self.authority.issued_to(node) if each.is_good(now)]
        return Held([serial for serial in good if serial not in revoked], revoked)

    def _revoke_others(self, signed: Described, now: datetime) -> list[str]:
        """Revoke what the host that was here before has; also what was signed and never handed out."""
        others = [serial for serial in self._held(signed.common_name).good if serial != signed.serial]
        for serial in others:
            self.authority.revoke(serial, now=now)
        return others

    async def _check_certificate(self, certificate: x509.Certificate, described: Described) -> None:
        """Return if a certificate is one of ours and good."""
        trusted = certificates.from_pem((await self.authorities()).encode())
        if described.kind is not Kind.AGENT or not any(_is_issued_by(certificate, each) for each in trusted):
            raise Turned(401, "the certificate is not one that this controller's authority gave a node", _ENROL_AGAIN)
        now = self.clock()
        if not described.begins_at.timestamp() <= now < described.expires_at.timestamp():
            because = f"the certificate of {described.common_name} expired at {described.expires_at:%Y-%m-%d %H:%M} UTC"
            raise Turned(403, because, _ENROL_AGAIN)
        if described.serial in await _signing(self.authority.revoked):
            raise Turned(403, f"the certificate {described.serial} was revoked", _ENROL_AGAIN)


_ENROL_AGAIN: Final = "enrol the host anew: fleetmend enrol token make --replace, and fleetmend enrol on the host"


def _plain(text: str) -> str:
    """Return a text of whoever asks as it is fit for logs and terminals."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _key_of(asking: Asking, token_id: str) -> str:
    """Return the digest of the public key that a certificate is wanted for.

    Raises:
        Turned: 422, the request is none or not signed by its own key; 403, it is for another name.
    """
    try:
        request = read_request(asking.csr_pem)
        names = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (CertificateError, ValueError) as error:
        hint = "fleetmend enrol makes one that can"
        raise Turned(422, f"the request cannot be used: {error}", hint, token_id=token_id) from error
    if names != [asking.node]:
        because = f"the request is for {', '.join(names)[:80] or 'nobody'}, and not for {asking.node}"
        raise Turned(403, because, "a host asks for itself alone", token_id=token_id)
    return hashlib.sha256(certificates.public_bytes(request)).hexdigest()


async def _signing(act: Callable[[], Result]) -> Result:
    """Return what the authority answers; its files are not waited for by anybody else.

    Raises:
        Turned: 503, it cannot be used.
    """
    try:
        return await asyncio.to_thread(act)
    except (AuthorityError, OSError) as error:
        because = f"the certificate authority cannot be used now: {error}"
        raise Turned(503, because, "when that is put right on the controller, run the same again") from error
