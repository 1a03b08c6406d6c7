"""Makes and reads certificates and revocation lists (X.509, RFC 5280); no file, no clock, no state.

Keys of ours are ECDSA on P-256. A certificate says by its common name who its owner is at the broker, and by its
organisational unit what kind of thing that is.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire.topics import NAME, RESERVED

MAX_COMMON_NAME: Final = 64
"""Characters. Source: RFC 5280, appendix A.1, ub-common-name."""

CLOCK_SKEW: Final = timedelta(hours=1)
"""So much earlier a certificate begins: a clock that is behind must not refuse a new one. Source: our choice."""

LIST_SKEW: Final = timedelta(days=365)
"""So much earlier a revocation list begins. Where it is made the clock may be ahead, and a broker takes nobody at all
by a list that has not begun. Source: our choice; a clock that lost its battery is behind and not ahead."""

CA_DAYS: Final = 3650
ORGANIZATION: Final = "fleetmend"

AuthorityKey: TypeAlias = ec.EllipticCurvePrivateKey
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*")
_END_OF_LIST: Final = b"-----END X509 CRL-----\n"


class CertificateError(Exception):
    """A certificate, key or request cannot be used; the text is one sentence that says why."""


class Kind(StrEnum):
    """What a certificate is for: the organisational unit of its subject."""

    AGENT = "agent"
    """One node; the common name is the node's."""
    CONTROLLER = "controller"
    """The controllers of a cell, at the broker and as servers of the HTTP port."""
    BROKER = "broker"
    """The broker's server certificate, for the hosts in it."""
    CLIENT = "client"
    """A person or a replica at the HTTP port. Its name has an @, so that the broker takes it for no node."""


_KINDS: Final = {str(kind): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Described:
    """What a certificate says.

    Attributes:
        serial: in hex, as `openssl x509 -serial` shows it.
        kind: `None` when the certificate is none of ours.
        hosts: the names and addresses it is shown for; a node's own name where it is for no server.
        issuer: the common name of the CA that signed it.
        fingerprint: `SHA256:` and the digest of its DER form in hex.
    """

    serial: str
    common_name: str
    kind: Kind | None
    hosts: tuple[str, ...]
    issuer: str
    begins_at: datetime
    expires_at: datetime
    fingerprint: str


def why_no_common_name(name: str, kind: Kind) -> str:
    """Return why no certificate of a kind can be for this name, empty when one can."""
    match kind:
        case Kind.CONTROLLER | Kind.BROKER:
            return "" if name == kind else f"the {kind}'s certificate is for the name {str(kind)!r}, not {name!r}"
        case Kind.CLIENT if not _PERSON.fullmatch(name):
            return f"{name!r} is not like ana@example.org: without the @ it could be a node's name at the broker"
        case Kind.AGENT if name in RESERVED:
            return f"{name!r} is how the cell's own part is called at the broker: no node can have that name"
        case Kind.AGENT if not NAME.fullmatch(name):
            return f"{name!r} is not a node's name: letters, digits, '.', '_' and '-', from letter or digit to the same"
    return "" if len(name) <= MAX_COMMON_NAME else f"{name!r} is longer than the {MAX_COMMON_NAME} characters of X.509"


def new_key() -> AuthorityKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: AuthorityKey) -> bytes:
    """Return a private key as its file holds it, without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_from_pem(pem: bytes) -> AuthorityKey:
    """Return the CA's private key in a text.

    Raises:
        CertificateError: it holds none, or one of another kind.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"no private key in PEM without a password: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"a {type(key).__name__}, where an ECDSA key is needed")
    return key


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as a file holds them, one after the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def from_pem(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates in a text, at least one.

    Raises:
        CertificateError: it holds none, or one that cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"no certificate in PEM: {error}") from error


def describe(certificate: x509.Certificate) -> Described:
    """Return what a certificate says.

    Raises:
        CertificateError: a part of it cannot be read; the library looks at each when it is asked for.
    """
    try:
        return _described(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateError(f"a part of the certificate cannot be read: {error}") from error


def _described(certificate: x509.Certificate) -> Described:
    unit = _attribute(certificate.subject, NameOID.ORGANIZATIONAL_UNIT_NAME)
    return Described(
        serial=spell_serial(certificate.serial_number),
        common_name=_attribute(certificate.subject, NameOID.COMMON_NAME),
        kind=_KINDS.get(unit),
        hosts=_hosts_of(certificate),
        issuer=_attribute(certificate.issuer, NameOID.COMMON_NAME),
        begins_at=certificate.not_valid_before_utc,
        expires_at=certificate.not_valid_after_utc,
        fingerprint=fingerprint(certificate),
    )


def spell_serial(number: int) -> str:
    """Return a serial number in hex, as `openssl` shows it."""
    text = f"{number:X}"
    return text.zfill(len(text) + len(text) % 2)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return what a person compares: `SHA256:` and the digest of the certificate in hex."""
    return f"SHA256:{certificate.fingerprint(SHA256()).hex()}"


def new_authority(
    key: AuthorityKey, *, days: int, now: datetime, before: x509.Certificate | None = None
) -> x509.Certificate:
    """Return the self-signed certificate of a new CA, with a name of its own: two of them must not be mixed up.

    Args:
        before: the CA that it is to follow; the new one begins later, by which they are told apart.
    """
    begins = now - CLOCK_SKEW if before is None else before.not_valid_before_utc + timedelta(seconds=1)
    name = _subject("certificate authority", f"fleetmend CA {secrets.token_hex(4)}")
    usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, begins=max(begins, now - CLOCK_SKEW), until=now + timedelta(days=days))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, SHA256())
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate is to say. `hosts`: names and IP addresses that it is shown for as a server."""

    common_name: str
    kind: Kind
    days: int
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            CertificateError: the name, the time or a host is wrong.
        """
        if because := why_no_common_name(self.common_name, self.kind):
            raise CertificateError(because)
        if not 1 <= self.days <= CA_DAYS:
            raise CertificateError(f"{self.days} days: a certificate is good for 1 to {CA_DAYS}")
        if self.hosts and self.kind in {Kind.AGENT, Kind.CLIENT}:
            raise CertificateError(f"a certificate of the kind {self.kind} is for no server: it has no hosts")
        if not self.hosts and self.kind is Kind.BROKER:
            raise CertificateError("the broker's certificate needs the hosts that clients know it by")
        self.alternatives()

    def alternatives(self) -> list[x509.GeneralName]:
        """Return the hosts, or the common name where there are none: some verifiers look at nothing else.

        Raises:
            CertificateError: a host is neither a name nor an address.
        """
        if self.kind is Kind.CLIENT:
            return [x509.RFC822Name(self.common_name)]
        return [_alternative(host) for host in self.hosts or (self.common_name,)]


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA: its certificate and the key to it."""

    certificate: x509.Certificate
    key: AuthorityKey

    @property
    def name(self) -> str:
        """The CA's common name."""
        return _attribute(self.certificate.subject, NameOID.COMMON_NAME)

    def sign(self, public: x509.CertificateSigningRequest, wanted: Wanted, *, now: datetime) -> x509.Certificate:
        """Return a certificate for the key of a request, ending with the CA's own if that ends before.

        Raises:
            CertificateError: the CA has expired.
        """
        ends = self.certificate.not_valid_after_utc
        if now >= ends:
            raise CertificateError(f"the CA {self.name} expired on {ends:%Y-%m-%d %H:%M} UTC: it signs nothing more")
        until = min(ends, now + timedelta(days=wanted.days))
        subject = _subject(wanted.kind, wanted.common_name)
        builder = _builder(subject, self.certificate.subject, begins=now - CLOCK_SKEW, until=until).public_key(
            public.public_key()
        )
        for extension, is_critical in self._extensions(public, wanted):
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(self.key, SHA256())

    def _extensions(
        self, public: x509.CertificateSigningRequest, wanted: Wanted
    ) -> Sequence[tuple[x509.ExtensionType, bool]]:
        ours = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True, key_cert_sign=False, crl_sign=False), True),
            (x509.ExtendedKeyUsage(_PURPOSES[wanted.kind]), False),
            (x509.SubjectKeyIdentifier.from_public_key(public.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours), False),
            (x509.SubjectAlternativeName(wanted.alternatives()), False),
        ]

    def revoke(
        self, revoked: Iterable[x509.RevokedCertificate], *, before: datetime | None, now: datetime
    ) -> x509.CertificateRevocationList:
        """Return a list of what this CA revoked, good as long as the CA: one that expires shuts everybody out.

        Args:
            before: when the list begins that this one replaces. OpenSSL takes the newer of two, by the second; one
                that has not begun yet shuts everybody out, and is therefore not followed.
        """
        begins = now.replace(microsecond=0) - LIST_SKEW
        if before is not None and before < now:
            begins = max(begins, before + timedelta(seconds=1))
        ours = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(begins)
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours), critical=False)
            .add_extension(x509.CRLNumber(int(begins.timestamp())), critical=False)
        )
        for each in revoked:
            builder = builder.add_revoked_certificate(each)
        return builder.sign(self.key, SHA256())


def revoked_entry(serial: int, *, now: datetime) -> x509.RevokedCertificate:
    """Return what a revocation list says of one certificate."""
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()


def lists_to_pem(lists: Iterable[x509.CertificateRevocationList]) -> bytes:
    """Return revocation lists as a file holds them, one after the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in lists)


def lists_from_pem(pem: bytes) -> list[x509.CertificateRevocationList]:
    """Return the revocation lists in a text.

    Raises:
        CertificateError: one cannot be read.
    """
    parts = [part for part in pem.split(_END_OF_LIST) if part.strip()]
    try:
        return [x509.load_pem_x509_crl(part + _END_OF_LIST) for part in parts]
    except ValueError as error:
        raise CertificateError(f"no revocation list in PEM: {error}") from error


def public_bytes(key: AuthorityKey | x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """Return the public half of a key, to compare it."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _builder(subject: x509.Name, issuer: x509.Name, *, begins: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(until)
    )


def _subject(unit: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, digital_signature: bool, key_cert_sign: bool, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_PURPOSES: Final = {
    Kind.AGENT: [ExtendedKeyUsageOID.CLIENT_AUTH],
    Kind.CONTROLLER: [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
    Kind.BROKER: [ExtendedKeyUsageOID.SERVER_AUTH],
    Kind.CLIENT: [ExtendedKeyUsageOID.CLIENT_AUTH],
}
"""What TLS lets the owner be. No node can pass for a server, and the broker's key opens no client's door."""


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    if not NAME.fullmatch(host):
        raise CertificateError(f"{host!r} is neither a host's name nor an IP address")
    return x509.DNSName(host)


def _hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress)))


def _attribute(name: x509.Name, which: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(which)
    return str(found[-1].value) if found else ""
