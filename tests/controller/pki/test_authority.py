"""The authority in its folder: what it signs, refuses, revokes, and how another CA takes its place."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from controller.pki import certificates
from controller.pki.authority import Authority, AuthorityError
from controller.pki.certificates import Kind

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.found(tmp_path / "pki", now=NOW)


def issue(authority: Authority, name: str = "node1", *, days: int = 30, now: datetime = NOW) -> x509.Certificate:
    issued = authority.issue(common_name=name, kind=Kind.AGENT, days=days, now=now)
    return x509.load_pem_x509_certificate(issued.certificate_pem)


def openssl_says(authority: Authority, certificate: x509.Certificate, purpose: str = "sslclient") -> str:
    """Return what `openssl verify` says of a certificate, by the files that a broker is given."""
    file = authority.folder.parent / "shown.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    trusted = ["-CAfile", f"{authority.folder}/ca.pem", "-CRLfile", f"{authority.folder}/crl.pem", "-crl_check"]
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, *trusted, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


def is_taken(authority: Authority, certificate: x509.Certificate, purpose: str = "sslclient") -> bool:
    return openssl_says(authority, certificate, purpose).endswith(": OK\n")


def test_what_it_signs_says_who_and_what_for(authority: Authority) -> None:
    issued = authority.issue(
        common_name="broker", kind=Kind.BROKER, days=90, now=NOW, hosts=("mq.example.org", "192.0.2.7")
    )
    found = certificates.describe(x509.load_pem_x509_certificate(issued.certificate_pem))
    assert (found.common_name, found.kind, found.hosts) == ("broker", Kind.BROKER, ("mq.example.org", "192.0.2.7"))
    assert found.begins_at == NOW - timedelta(hours=1)
    assert found.expires_at == NOW + timedelta(days=90)
    (recorded,) = authority.issued()
    assert (found.serial, found.expires_at.timestamp()) == (recorded.serial, recorded.expires_at)


def test_nobody_but_a_broker_and_a_controller_can_be_a_server(authority: Authority) -> None:
    node = issue(authority)
    assert is_taken(authority, node), openssl_says(authority, node)
    assert not is_taken(authority, node, "sslserver")
    broker = authority.issue(common_name="broker", kind=Kind.BROKER, days=9, now=NOW, hosts=("mq.example.org",))
    certificate = x509.load_pem_x509_certificate(broker.certificate_pem)
    assert is_taken(authority, certificate, "sslserver")
    assert not is_taken(authority, certificate)


def test_keys_and_records_are_for_the_owner_alone(authority: Authority) -> None:
    issue(authority)
    authority.prepare(now=NOW)
    modes = {
        str(path.relative_to(authority.folder)): stat.S_IMODE(path.stat().st_mode)
        for path in authority.folder.rglob("*")
        if "other-keys/" not in str(path)
    }
    assert modes == {
        "ca.pem": 0o644,
        "crl.pem": 0o644,
        "ca-key.pem": 0o600,
        "issued": 0o700,
        "issued/node1.json": 0o600,
        "other-keys": 0o700,
    }
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in (authority.folder / "other-keys").iterdir()}


@pytest.mark.parametrize(
    ("name", "kind", "because"),
    [
        ("controller", Kind.AGENT, "no node can have that name"),
        ("broker", Kind.AGENT, "no node can have that name"),
        ("../ca-key", Kind.AGENT, "is not a node's name"),
        ("node+", Kind.AGENT, "is not a node's name"),
        ("", Kind.AGENT, "is not a node's name"),
        ("n" * 65, Kind.AGENT, "longer than the 64 characters"),
        ("node1", Kind.CONTROLLER, "is for the name 'controller'"),
        ("node1", Kind.BROKER, "is for the name 'broker'"),
        ("node1", Kind.CLIENT, "is not like ana@example.org"),
    ],
)
def test_a_name_that_is_none_is_refused(authority: Authority, name: str, kind: Kind, because: str) -> None:
    with pytest.raises(AuthorityError, match=because):
        authority.sign(request(), common_name=name, kind=kind, days=1, now=NOW)
    assert authority.issued() == []


@pytest.mark.parametrize(
    ("kind", "days", "hosts", "because"),
    [
        (Kind.AGENT, 0, (), "good for 1 to"),
        (Kind.AGENT, 99_999, (), "good for 1 to"),
        (Kind.AGENT, 1, ("mq.example.org",), "is for no server"),
        (Kind.BROKER, 1, (), "needs the hosts"),
        (Kind.BROKER, 1, ("a b",), "neither a host's name nor an IP address"),
    ],
)
def test_what_cannot_be_is_refused(
    authority: Authority, kind: Kind, days: int, hosts: tuple[str, ...], because: str
) -> None:
    name = "node1" if kind is Kind.AGENT else kind
    with pytest.raises(AuthorityError, match=because):
        authority.issue(common_name=name, kind=kind, days=days, now=NOW, hosts=hosts)


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "who cares")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = builder.sign(key or certificates.new_key(), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def forged() -> bytes:
    """Return a request whose signature is another's."""
    one, other = (x509.load_pem_x509_csr(request()) for _ in range(2))
    der = one.public_bytes(serialization.Encoding.DER)
    swapped = x509.load_der_x509_csr(der[: -len(one.signature)] + _of_length(other.signature, len(one.signature)))
    return swapped.public_bytes(serialization.Encoding.PEM)


def _of_length(signature: bytes, length: int) -> bytes:
    return (signature + bytes(length))[:length]


@pytest.mark.parametrize(
    ("made", "because"),
    [
        (lambda: b"", "no certificate request"),
        (
            lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "no certificate re",
        ),
        (lambda: request() * 100, "larger than"),
        (forged, "not signed by its own key"),
        (lambda: request(rsa.generate_private_key(65537, 1024)), "RSA with 1024 bits"),  # noqa: S505
        (lambda: request(ec.generate_private_key(ec.SECP192R1())), "of the curve secp192r1"),
        (lambda: request(ec.generate_private_key(ec.SECP256K1())), "of the curve secp256k1"),
        (lambda: request(ec.generate_private_key(ec.BrainpoolP512R1())), "of the curve brainpoolP512r1"),
    ],
)
def test_a_request_that_proves_nothing_is_refused(
    authority: Authority, made: Callable[[], bytes], because: str
) -> None:
    with pytest.raises(AuthorityError, match=because):
        authority.sign(made(), common_name="node1", kind=Kind.AGENT, days=1, now=NOW)


def test_other_good_keys_are_taken(authority: Authority) -> None:
    chain = authority.sign(
        request(rsa.generate_private_key(65537, 2048)), common_name="node1", kind=Kind.AGENT, days=1, now=NOW
    )
    assert is_taken(authority, x509.load_pem_x509_certificate(chain))


def test_nothing_is_signed_for_longer_than_the_authority_lives(authority: Authority) -> None:
    ends = authority.authorities()[0].expires_at
    assert ends == certificates.describe(issue(authority, now=ends - timedelta(days=3))).expires_at
    with pytest.raises(AuthorityError, match=r"expired on .* it signs nothing more"):
        issue(authority, now=ends)


def test_a_revoked_certificate_is_refused_and_its_successor_is_not(authority: Authority) -> None:
    first, other = issue(authority), issue(authority, "node2")
    (gone,) = authority.revoke("node1", now=NOW)
    second = issue(authority)
    assert not is_taken(authority, first)
    assert is_taken(authority, second)
    assert is_taken(authority, other)
    assert {gone.serial} == authority.revoked()
    with pytest.raises(AuthorityError, match="no good certificate"):
        authority.revoke(gone.serial, now=NOW)
    (gone_too,) = authority.revoke(certificates.describe(second).serial.lower(), now=NOW)
    assert not is_taken(authority, second)
    assert {gone.serial, gone_too.serial} == authority.revoked()
    assert is_taken(authority, other)


def test_each_list_is_newer_than_the_one_before(authority: Authority) -> None:
    made = []
    for name in ("node1", "node2", "node3"):
        issue(authority, name)
        authority.revoke(name, now=NOW)
        made.append(x509.load_pem_x509_crl((authority.folder / "crl.pem").read_bytes()).last_update_utc)
    assert made == sorted(set(made))
    assert made[-1] < NOW


def test_a_list_that_was_made_with_a_clock_that_is_ahead_shuts_nobody_out(authority: Authority) -> None:
    node = issue(authority)
    for ahead in (timedelta(days=1), timedelta(days=300)):
        issue(authority, "node2", days=400)
        authority.revoke("node2", now=NOW + ahead)
        assert is_taken(authority, node), openssl_says(authority, node)


def test_a_list_that_has_not_begun_yet_is_followed_by_one_that_has(authority: Authority) -> None:
    node = issue(authority)
    issue(authority, "node2", days=3000)
    authority.revoke("node2", now=NOW + timedelta(days=2000))
    assert not is_taken(authority, node)
    other = issue(authority, "node3")
    authority.revoke("node3", now=NOW)
    assert is_taken(authority, node), openssl_says(authority, node)
    assert not is_taken(authority, other)


def test_a_link_in_its_folder_is_not_followed(authority: Authority, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, act in (("issued", lambda: issue(authority)), ("other-keys", lambda: authority.prepare(now=NOW))):
        (authority.folder / name).symlink_to(elsewhere)
        with pytest.raises(AuthorityError, match=f"{name} is no folder, but a link"):
            act()
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_got_lost_is_not_said_to_be_made_anew(authority: Authority) -> None:
    for name in ("crl.pem", "ca.pem"):
        issue(authority)
        content = (authority.folder / name).read_bytes()
        (authority.folder / name).unlink()
        with pytest.raises(AuthorityError, match=rf"{name} is not there: other files .* from the copy"):
            Authority.load(authority.folder)
        (authority.folder / name).write_bytes(content)


def test_what_expired_is_forgotten_when_its_name_is_given_another(authority: Authority) -> None:
    issue(authority, days=1)
    later = issue(authority, now=NOW + timedelta(days=2))
    assert [certificates.describe(later).serial] == [each.serial for each in authority.issued()]
    with pytest.raises(AuthorityError, match="no good certificate"):
        authority.revoke("node1", now=NOW + timedelta(days=40))


def test_a_new_authority_takes_the_place_of_the_old_one(authority: Authority) -> None:
    old = issue(authority)
    following = authority.prepare(now=NOW)
    assert following == authority.prepare(now=NOW)
    early = issue(authority, "node2")
    assert certificates.describe(early).issuer == certificates.describe(old).issuer
    assert following == authority.switch()
    late = issue(authority, "node3")
    assert following.common_name == certificates.describe(late).issuer
    assert all(is_taken(authority, each) for each in (old, early, late))
    assert {"node1", "node2"} == {each.name for each in authority.dependent(now=NOW)}
    authority.revoke("node2", now=NOW)
    assert not is_taken(authority, early)
    renewed = issue(authority)
    assert authority.dependent(now=NOW) == []
    assert [certificates.describe(old).issuer] == [each.common_name for each in authority.retire()]
    assert not is_taken(authority, old)
    assert is_taken(authority, renewed)
    assert list((authority.folder / "other-keys").iterdir()) == []
    assert following == Authority.load(authority.folder).authorities()[0]


def test_the_steps_of_a_rotation_come_in_their_order(authority: Authority) -> None:
    with pytest.raises(AuthorityError, match="prepare one first"):
        authority.switch()
    with pytest.raises(AuthorityError, match="nothing to retire"):
        authority.retire()
    authority.prepare(now=NOW)
    with pytest.raises(AuthorityError, match="nothing to retire"):
        authority.retire()
    authority.switch()
    with pytest.raises(AuthorityError, match="retire it first"):
        authority.prepare(now=NOW)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "crl.pem"])
def test_a_folder_whose_files_are_wrong_is_refused_by_name(authority: Authority, name: str) -> None:
    (authority.folder / name).write_bytes(b"nonsense")
    with pytest.raises(AuthorityError, match=str(authority.folder)):
        Authority.load(authority.folder)
    (authority.folder / name).unlink()
    with pytest.raises(AuthorityError, match="is not there"):
        Authority.load(authority.folder)


def test_a_folder_that_is_none_or_another_s_is_refused(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="pki init"):
        Authority.load(tmp_path)
    with pytest.raises(AuthorityError, match="already: nothing was changed"):
        Authority.found(authority.folder, now=NOW)
    other = Authority.found(tmp_path / "other", now=NOW)
    (authority.folder / "ca.pem").write_bytes(other.bundle())
    with pytest.raises(AuthorityError, match="is the key of none"):
        Authority.load(authority.folder)


def test_a_key_that_others_can_read_is_refused(authority: Authority) -> None:
    (authority.folder / "ca-key.pem").chmod(0o640)
    with pytest.raises(AuthorityError, match="chmod 600"):
        issue(authority)


def test_a_request_of_openssl_is_signed(authority: Authority, tmp_path: Path) -> None:
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]
    made = subprocess.run(
        [*command, tmp_path / "key.pem", "-subj", "/CN=controller"], capture_output=True, check=True, timeout=30
    )
    chain = authority.sign(made.stdout, common_name="node1", kind=Kind.AGENT, days=1, now=NOW)
    found = certificates.describe(x509.load_pem_x509_certificate(chain))
    assert (found.common_name, found.kind) == ("node1", Kind.AGENT)
