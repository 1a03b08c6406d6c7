"""What a node shows to have its certificate renewed."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as some

from controller.enrolment.proof import MOST_AGE_S, BadProof, read
from controller.pki import certificates
from controller.pki.requests import read_request
from tests.support.enrolling import Host

NOW = 1_790_000_000.0


def own_certificate(host: Host) -> x509.Certificate:
    """Return some certificate of the host's key; who signed it is not looked at here."""
    return certificates.new_authority(host.key, days=30, now=datetime.fromtimestamp(NOW, UTC))


HOST = Host.new("gpu-1")
CERTIFICATE = own_certificate(HOST)
GOOD = HOST.proof(CERTIFICATE, now=NOW)


def segment(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def signed(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return what the host's key signs, whatever the header says."""
    text = f"{segment(header)}.{segment(claims)}"
    r, s = decode_dss_signature(HOST.key.sign(text.encode(), ec.ECDSA(SHA256())))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def parts_of(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in text.split(".")[:2])
    return header, claims


def test_it_shows_the_certificate_and_the_request() -> None:
    shown = read(GOOD, cell="main", now=NOW)
    assert shown.certificate == CERTIFICATE
    assert certificates.public_bytes(read_request(shown.csr_pem)) == certificates.public_bytes(HOST.key)
    assert read(signed(*parts_of(GOOD)), cell="main", now=NOW) == shown


@pytest.mark.parametrize("late_s", [MOST_AGE_S + 2, -MOST_AGE_S - 2])
def test_an_old_one_and_one_of_another_cell_show_nothing(late_s: float) -> None:
    with pytest.raises(BadProof, match="clock"):
        read(GOOD, cell="main", now=NOW + late_s)
    with pytest.raises(BadProof, match="another cell"):
        read(GOOD, cell="other", now=NOW)


def test_one_that_another_key_signed_shows_nothing() -> None:
    thief = Host.new("gpu-1")
    with pytest.raises(BadProof, match="not signed by the key"):
        read(thief.proof(CERTIFICATE, now=NOW), cell="main", now=NOW)


def test_a_changed_one_shows_nothing() -> None:
    header, claims, signature = GOOD.split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    told["csr"] = Host.new("gpu-1").request()
    other = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
    with pytest.raises(BadProof, match="not signed by the key"):
        read(f"{header}.{other}.{signature}", cell="main", now=NOW)


def test_one_without_a_signature_shows_nothing() -> None:
    header, claims = parts_of(GOOD)
    with pytest.raises(BadProof):
        read(f"{segment(header | {'alg': 'none'})}.{segment(claims)}.", cell="main", now=NOW)


def test_the_public_half_of_a_key_is_no_shared_secret() -> None:
    header, claims = parts_of(GOOD)
    text = f"{segment(header | {'alg': 'HS256'})}.{segment(claims)}"
    pem = HOST.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = base64.urlsafe_b64encode(hmac.digest(pem, text.encode(), "sha256")).decode().rstrip("=")
    with pytest.raises(BadProof):
        read(f"{text}.{forged}", cell="main", now=NOW)


@pytest.mark.parametrize("x5c", [None, [], "x", [1], ["*"], ["AAAA"], ["a", "b"]])
def test_one_without_a_certificate_shows_nothing(x5c: Any) -> None:
    header, claims = parts_of(GOOD)
    with pytest.raises(BadProof):
        read(signed(header | {"x5c": x5c}, claims), cell="main", now=NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "session"},
        {"csr": 7},
        {"csr": "ä"},
        {"csr": None},
        {"iat": "now"},
        {"iat": None},
        {"iat": 10**400},
        {"iat": -(10**4000)},
        {"aud": []},
    ],
)
def test_one_that_asks_for_something_else_shows_nothing(changed: dict[str, Any]) -> None:
    header, claims = parts_of(GOOD)
    with pytest.raises(BadProof):
        read(signed(header, claims | changed), cell="main", now=NOW)


@pytest.mark.parametrize("broken", ["alternative names", "alternative names twice", "name", "key usage"])
def test_a_certificate_of_which_a_part_cannot_be_read_shows_nothing(broken: str) -> None:
    header, claims = parts_of(GOOD)
    shown = base64.b64encode(broken_certificate(broken)).decode()
    with pytest.raises(BadProof, match="CertificateError"):
        read(signed(header | {"x5c": [shown]}, claims), cell="main", now=NOW)


def broken_certificate(part: str) -> bytes:
    """Return a certificate of the host's key that its library loads, and finds wrong when the part is looked at."""
    usage, alternatives = x509.ObjectIdentifier("2.5.29.15"), x509.ObjectIdentifier("2.5.29.17")
    match part:
        case "alternative names":
            return _extended(x509.UnrecognizedExtension(alternatives, b"\x01\x02\x03"))
        case "key usage":
            return _extended(x509.UnrecognizedExtension(usage, b"\x01"))
        case "name":
            return _extended().replace(b"gpu-1", b"g\xff\xfe-1")
        case _:
            names = [x509.DNSName("a")]
            made = _extended(x509.SubjectAlternativeName(names), x509.IssuerAlternativeName(names))
            return made.replace(bytes.fromhex("0603551d12"), bytes.fromhex("0603551d11"))


def _extended(*extensions: x509.ExtensionType) -> bytes:
    begins, name = datetime.fromtimestamp(NOW, UTC), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gpu-1")])
    builder = x509.CertificateBuilder(name, name, HOST.key.public_key(), 5, begins, begins + timedelta(days=1))
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(HOST.key, SHA256()).public_bytes(Encoding.DER)


@given(some.text(max_size=200) | some.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode() + "..x"))
def test_any_text_shows_nothing_and_breaks_nothing(text: str) -> None:
    with pytest.raises(BadProof):
        read(text, cell="main", now=NOW)
