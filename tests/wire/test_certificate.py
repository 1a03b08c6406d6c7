"""When a certificate ends, read from its bytes: the same that a library of cryptography reads."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from wire.certificate import Life, life_of

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
KEYS: dict[str, Callable[[], Key]] = {
    "ecdsa": cache(lambda: ec.generate_private_key(ec.SECP256R1())),
    "rsa": cache(lambda: rsa.generate_private_key(65537, 4096)),
    "ed25519": cache(ed25519.Ed25519PrivateKey.generate),
}
"""Made when they are first wanted: one of RSA takes a second, and whoever only looks for tests wants none."""

DAY_S = 86_400.0
EXAMPLE = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(begins: datetime, ends: datetime, *, key: str = "ecdsa", names: int = 1) -> str:
    private = KEYS[key]()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n1")])
    builder = x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(f"n{number}.example.org") for number in range(names)])
    builder = builder.not_valid_before(begins).not_valid_after(ends).add_extension(alternatives, critical=False)
    signed = builder.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("names", [1, 2_000])
def test_the_life_of_any_kind_of_certificate_is_read(key: str, names: int) -> None:
    life = life_of(certificate(EXAMPLE, EXAMPLE + timedelta(days=30), key=key, names=names))
    assert life == Life(EXAMPLE.timestamp(), (EXAMPLE + timedelta(days=30)).timestamp())


FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1951, 9970))
MOMENTS = st.integers(FIRST, LAST).map(lambda at: datetime.fromtimestamp(at, UTC))


@given(MOMENTS, st.integers(1, 100_000))
def test_any_time_is_read_as_the_library_reads_it(begins: datetime, hours: int) -> None:
    ends = begins + timedelta(hours=hours)
    assert life_of(certificate(begins, ends)) == Life(begins.timestamp(), ends.timestamp())


def test_of_a_chain_the_first_counts_and_words_around_it_do_not() -> None:
    own, above = (certificate(EXAMPLE, EXAMPLE + timedelta(days=days)) for days in (1, 100))
    assert life_of(f"subject=n1\n{own}issuer=\n{above}").ends_at == (EXAMPLE + timedelta(days=1)).timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        life_of(text)


WHOLE = x509.load_pem_x509_certificate(certificate(EXAMPLE, EXAMPLE + timedelta(days=1)).encode()).public_bytes(
    Encoding.DER
)


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=4))
def test_a_spoilt_one_is_read_or_refused_and_nothing_else(place: int, spoilt: bytes) -> None:
    text = ssl.DER_cert_to_PEM_cert(WHOLE[:place] + spoilt + WHOLE[place + len(spoilt) :])
    try:
        assert isinstance(life_of(text), Life)
    except ValueError as error:
        assert "certificate" in str(error)


def test_a_life_says_when_its_renewal_is_late() -> None:
    life = Life(0.0, 30 * DAY_S)
    assert [life.is_short(days * DAY_S) for days in (0, 20.9, 21.1, 31)] == [False, False, True, True]
    assert life.left_s(31 * DAY_S) == -DAY_S
