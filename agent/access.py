"""What an agent is given to reach others and to know them again: its broker, the controllers' keys, its BMC."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from agent.small_file import read_file
from agent.sources.redfish_access import RedfishAccess, parse_fingerprint
from agent.strict import Rule, Wrong
from wire.files import SecretError, check_secret
from wire.tls import TlsFiles
from wire.url import addresses_of

KEY_BYTES: Final = 32
ED25519_HEAD: Final = bytes.fromhex("302a300506032b6570032100")
"""What an Ed25519 public key in PEM begins with, before its 32 bytes. Source: RFC 8410, sections 4 and 10.1."""

MAX_SECRET_BYTES: Final = 64 << 10
"""Of a password or a key. Source: our choice; neither takes more than some hundred."""

Rules = dict[str, Rule]


def _why_no_broker(url: str | tuple[str, ...]) -> str:
    try:
        addresses_of(url)
    except ValueError as error:
        return str(error)
    urls = (url,) if isinstance(url, str) else url
    has_password = any(urlsplit(each).password is not None for each in urls)
    return "no password in the address: name a file in password_file" if has_password else ""


def _why_no_redfish(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_https = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_https = False
        parts = urlsplit("")
    is_bare = url.isascii() and url.isprintable() and not (parts.path.strip("/") or parts.query or parts.fragment)
    if not is_https or not is_bare or " " in url:
        return "it is not https://host or https://host:port"
    return "no user and password in the address: give user and password_file" if "@" in parts.netloc else ""


def _why_no_user(name: str) -> str:
    return f"{name!r} has a colon in it, which HTTP takes for the end of the name" if ":" in name else ""


def _why_no_fingerprint(text: str) -> str:
    try:
        parse_fingerprint(text)
    except ValueError as error:
        return str(error)
    return ""


def _why_unreadable(path: Path) -> str:
    try:
        _text_of(path)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    except UnicodeDecodeError as error:
        return f"{path} is not UTF-8: {error.reason} at byte {error.start}"
    return ""


def _why_no_secret(path: Path) -> str:
    if because := _why_unreadable(path):
        return because
    try:
        check_secret(path)
    except SecretError as error:
        return str(error)
    return ""


def why_no_authority(path: Path) -> str:
    """Return what is wrong with a file of certificates, empty when nothing is."""
    try:
        read_file(path, most_bytes=1)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        return f"{path} holds no certificate in PEM: {error.reason or error}"
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    return ""


def _text_of(path: Path) -> str:
    return read_file(path, most_bytes=MAX_SECRET_BYTES).decode()


class Section(msgspec.Struct, frozen=True):
    """One table of the file."""


class Broker(Section, frozen=True):
    """How to reach the MQTT broker.

    Attributes:
        url: mqtt:// or mqtts://, host and port; a list names the nodes of a clustered broker, which are tried in turn.
            ?v=3 speaks MQTT 3.1.1, ?dots=tilde writes ~ for dots (docs/how-to/clustered-broker.md).
        password_file: holds the password and nothing else; read anew for each connection.
        ca_file: certificates in PEM that the broker's is signed with; those that the system trusts when left out.
        certificate_file: in PEM, with its chain: shown to the broker in place of username and password
            (docs/how-to/certificates.md). When it is replaced, the connection is renewed.
        key_file: the private key of the certificate in PEM, which nobody else may read.
        username: the node's name when it is left out and there is a password.
    """

    RULES: ClassVar[Rules] = {"url": _why_no_broker, "password_file": _why_no_secret, "ca_file": why_no_authority}

    url: str | tuple[str, ...]
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse half a certificate, one that cannot be used, and one that nobody would be shown."""
        files = self.tls()
        if because := files.why_incomplete():
            raise Wrong(because)
        if files.certificate_file is None:
            return
        if not all(address.tls for address in addresses_of(self.url)):
            raise Wrong("certificate_file needs mqtts:// in every url: without TLS nobody is shown a certificate")
        try:
            files.context()
        except ValueError as error:
            raise Wrong(str(error)) from error

    def tls(self) -> TlsFiles:
        """Return the files of TLS."""
        return TlsFiles(self.ca_file, self.certificate_file, self.key_file)


class TrustedKey(Section, frozen=True):
    """One controller's Ed25519 public key: `public_key` (base64 of its 32 bytes) or `file` (the same text, or PEM)."""

    RULES: ClassVar[Rules] = {"file": _why_unreadable}

    public_key: str = ""
    file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse anything but one key."""
        if bool(self.public_key) == bool(self.file):
            raise Wrong("give exactly one of public_key and file")
        try:
            self.load()
        except ValueError as error:
            raise Wrong(str(error)) from error

    def load(self) -> bytes:
        """Return the key's 32 bytes.

        Raises:
            ValueError: the text is no Ed25519 public key.
        """
        return parse_public_key(_text_of(self.file) if self.file else self.public_key)


def parse_public_key(text: str) -> bytes:
    """Return the 32 bytes of the Ed25519 public key that `text` holds as PEM or as base64 of them.

    Raises:
        ValueError: it is neither.
    """
    is_pem = "BEGIN" in text
    body = "".join(line for line in text.splitlines() if "-----" not in line) if is_pem else text.strip()
    try:
        key = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise ValueError(f"not an Ed25519 public key (PEM, or base64 of {KEY_BYTES} bytes): {error}") from error
    if is_pem and not key.startswith(ED25519_HEAD):
        raise ValueError("a public key in PEM, but of another kind than Ed25519")
    key = key.removeprefix(ED25519_HEAD)
    if len(key) != KEY_BYTES:
        raise ValueError(f"not an Ed25519 public key: {len(key)} bytes in place of {KEY_BYTES}")
    return key


class Redfish(Section, frozen=True, kw_only=True):
    """The host's own BMC, asked by Redfish in place of `ipmitool` (docs/how-to/read-the-bmc.md).

    Its files are read with each reading, and one that cannot be read makes `host.bmc` unknown: whoever may not read the
    password can run all other checks.

    Attributes:
        url: `https://host` of the BMC, its address on the host interface or any other. Nothing is asked by Redfish
            while it is left out.
        user: of an account of the BMC; the role ReadOnly is enough.
        password_file: file that holds the account's password and nothing else.
        ca_file: certificates in PEM that the BMC's is signed with; those that the system trusts when it is left out.
        fingerprint: SHA-256 of the BMC's certificate in hex, with colons or without. It is compared in place of
            signature and name, so that a self-signed certificate is safe, too.
        verify: false for believing any certificate: whoever answers in the BMC's place learns the password.
    """

    RULES: ClassVar[Rules] = {"url": _why_no_redfish, "user": _why_no_user, "fingerprint": _why_no_fingerprint}

    url: str = ""
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    fingerprint: str = ""
    verify: bool = True

    def __post_init__(self) -> None:
        """Refuse half an account, and two ways to know the BMC again."""
        if self.url and not (self.user and self.password_file):
            raise Wrong("url needs user and password_file, of an account of the BMC with the role ReadOnly")
        if (self.user or self.password_file) and not self.url:
            raise Wrong("user and password_file are of no use without url")
        if len([way for way in (self.ca_file, self.fingerprint, not self.verify) if way]) > 1:
            raise Wrong("give one of ca_file, fingerprint and verify = false")

    def access(self) -> RedfishAccess | None:
        """Return how the BMC is asked, `None` when it is not asked by Redfish."""
        if not self.url or self.password_file is None:
            return None
        return RedfishAccess(
            url=self.url.rstrip("/"),
            user=self.user,
            password_file=self.password_file,
            ca_file=self.ca_file,
            fingerprint=parse_fingerprint(self.fingerprint),
            verify=self.verify,
        )
