"""Requests for certificates (PKCS #10, RFC 2986): made by who has a key, and judged by who signs."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from controller.pki.certificates import AuthorityKey, CertificateError

MAX_CSR_BYTES: Final = 16 << 10
"""Of a request in PEM. Source: our choice; one with an RSA key of 4,096 bits takes 2 KiB."""

LEAST_RSA_BITS: Final = 2048
"""Source: NIST SP 800-57 part 1, table 2: what is shorter protects nothing after 2013."""

CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""Those that TLS 1.3 is spoken with; a certificate of another would be of no use. Source: RFC 8446, 4.2.3."""

_SIGNED_WITH: Final = (SHA256, SHA384, SHA512)


def new_request(key: AuthorityKey, common_name: str) -> bytes:
    """Return a request in PEM for a certificate of this key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256()).public_bytes(Encoding.PEM)


def read_request(pem: bytes) -> x509.CertificateSigningRequest:
    """Return a request that shows that its sender has the key. What else it asks for is not looked at.

    Raises:
        CertificateError: it is none, is signed wrongly or in a way that proves nothing, or its key is weak.
    """
    if len(pem) > MAX_CSR_BYTES:
        raise CertificateError(f"the request is larger than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        is_signed = isinstance(request.public_key(), ed25519.Ed25519PublicKey) or isinstance(
            request.signature_hash_algorithm, _SIGNED_WITH
        )
        is_good = is_signed and request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CertificateError(f"no certificate request in PEM: {error}") from error
    if not is_good:
        raise CertificateError("the request is not signed by its own key with SHA-256 or better")
    if because := _why_weak(request):
        raise CertificateError(because)
    return request


def _why_weak(request: x509.CertificateSigningRequest) -> str:
    match request.public_key():
        case rsa.RSAPublicKey() as key if key.key_size < LEAST_RSA_BITS:
            return f"the key is weak: RSA with {key.key_size} bits, {LEAST_RSA_BITS} are the least"
        case ec.EllipticCurvePublicKey() as key if key.curve.name not in CURVES:
            return f"a key of the curve {key.curve.name}, where TLS is spoken with {', '.join(CURVES.values())}"
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey():
            return ""
        case other:
            return f"a {type(other).__name__} is no key that TLS is spoken with here: ECDSA, Ed25519 or RSA"
