"""What a node shows to have its certificate renewed: a request for the next one, signed with the key of this one.

It is a JSON Web Signature with the certificate in its header (`x5c`), and not a certificate shown at the TLS handshake:
so the controller says, and puts into its log, why a certificate is good no more; browsers are asked for none; and a
proxy may speak TLS in front of the controller. Whoever repeats one gets a certificate for a key that they do not have.

Source: RFC 7515 (JWS), 4.1.6 for `x5c`; RFC 7518 3.4 for ES256.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from controller.pki.certificates import CertificateError, Described, describe

ALGORITHM: Final = "ES256"
USE: Final = "fleetmend-renew"
MOST_AGE_S: Final = 600.0
"""So old, or so far ahead of the controller's clock, a proof may be. Source: our choice; clocks of hosts differ."""


MAX_HEADER_BYTES: Final = 4_096
"""The library's own 512 is for headers without a certificate. Source: ours take some 1,000."""

MAX_CLAIMS_BYTES: Final = 16_384


class _Registry(JWSRegistry):
    max_header_length = MAX_HEADER_BYTES
    max_payload_length = MAX_CLAIMS_BYTES


_REGISTRY: Final = _Registry(algorithms=[ALGORITHM])


_FLAWS: Final = (
    JoseError,
    ValueError,
    TypeError,
    KeyError,
    RecursionError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    CertificateError,
)


class BadProof(Exception):
    """It shows nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a proof holds: the certificate, whose key signed all of it, and the request for the next one in PEM.

    Attributes:
        described: what the certificate says, which is read here: anybody may show one that cannot be.
    """

    certificate: x509.Certificate
    described: Described
    csr_pem: bytes


def prove(csr_pem: bytes, *, certificate: x509.Certificate, key_pem: bytes, cell: str, now: float) -> str:
    """Return the proof of whoever has a certificate and its key.

    Raises:
        ValueError: the key is none of the curve P-256.
    """
    shown = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    header = {"alg": ALGORITHM, "x5c": [shown]}
    claims = {"use": USE, "aud": cell, "iat": int(now), "csr": csr_pem.decode("ascii")}
    try:
        return jwt.encode(header, claims, ECKey.import_key(key_pem), registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise ValueError(f"the key cannot sign by {ALGORITHM}: {error}") from error


def read(text: str, *, cell: str, now: float) -> Shown:
    """Return what a proof shows. Whether its certificate is good is for the caller to find out.

    Raises:
        BadProof: it is none, is signed by another key, is for another cell, or too old.
    """
    found: list[x509.Certificate] = []
    try:
        token = jwt.decode(text, _key_in(found), registry=_REGISTRY)
        described = describe(found[0])
    except _FLAWS as error:
        raise BadProof(f"it is not signed by the key of the certificate in it ({type(error).__name__})") from error
    if because := _why_not(token.claims, cell, now):
        raise BadProof(because)
    return Shown(found[0], described, token.claims["csr"].encode("ascii"))


def _key_in(found: list[x509.Certificate]) -> Callable[[Any], ECKey]:
    """Return what finds the key to a signature in the certificate beside it, which is put into `found`."""

    def key_of(signed: Any) -> ECKey:
        chain = signed.headers().get("x5c")
        if not isinstance(chain, list) or len(chain) != 1 or not isinstance(chain[0], str):
            raise ValueError("x5c has to hold one certificate")
        try:
            found.append(x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True)))
        except binascii.Error as error:
            raise ValueError("x5c is not base64") from error
        public = found[0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return ECKey.import_key(public)

    return key_of


def _why_not(claims: dict[str, Any], cell: str, now: float) -> str:
    made_at, csr = claims.get("iat"), claims.get("csr")
    if claims.get("use") != USE or not isinstance(csr, str) or not csr.isascii():
        return "it is not what asks for a renewal"
    if claims.get("aud") != cell:
        return "it is for another cell"
    # Compared and not subtracted: a whole number of any length is no float.
    if not isinstance(made_at, int) or not now - MOST_AGE_S <= made_at <= now + MOST_AGE_S:
        return f"it was made more than {MOST_AGE_S:g} s away from now by the controller's clock: compare the clocks"
    return ""
