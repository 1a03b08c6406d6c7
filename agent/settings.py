"""The agent's configuration: one TOML file, validated whole before anything starts.

Every problem is reported at once with its path; nothing falls back silently. Secrets are read from files, never written
here.
"""

from __future__ import annotations

import base64
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wire.orders import OrderAction
from wire.topics import NAME
from wire.transport import BrokerAddress

EX_CONFIG: Final = 78
"""Exit code of a process whose configuration is wrong. Source: sysexits.h."""


class SettingsError(Exception):
    """The file cannot be used; the text names every problem, one a line."""


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name of letters, digits, '.', '_' and '-'")
    return text


def _broker_url(url: str) -> str:
    BrokerAddress.parse(url)
    if urlsplit(url).password is not None:
        raise ValueError("no password in the address: name a file in password_file")
    return url


def _readable_file(path: Path) -> Path:
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return path


Name = Annotated[str, AfterValidator(_name)]
ReadableFile = Annotated[Path, AfterValidator(_readable_file)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(_Section):
    """How to reach the MQTT broker. `url` ends in `?v=3` for a broker that speaks MQTT 3.1.1 only."""

    url: Annotated[str, AfterValidator(_broker_url)]
    username: str = ""
    password_file: ReadableFile | None = None
    ca_file: ReadableFile | None = None

    def password(self) -> str:
        """Return the password, read anew from its file; empty when no file is named."""
        return self.password_file.read_text().strip() if self.password_file else ""


class TrustedKey(_Section):
    """One controller's Ed25519 public key: `public_key` (base64 of its 32 bytes) or `file` (the same text, or PEM)."""

    public_key: str = ""
    file: ReadableFile | None = None

    @model_validator(mode="after")
    def _holds_one_key(self) -> Self:
        if bool(self.public_key) == bool(self.file):
            raise ValueError("give exactly one of public_key and file")
        self.load()
        return self

    def load(self) -> Ed25519PublicKey:
        """Return the key.

        Raises:
            ValueError: the text is no Ed25519 public key.
        """
        return parse_public_key(self.file.read_text() if self.file else self.public_key)


def parse_public_key(text: str) -> Ed25519PublicKey:
    """Return the Ed25519 public key that `text` holds as PEM or as base64 of its 32 bytes.

    Raises:
        ValueError: it is neither.
    """
    try:
        if "BEGIN" not in text:
            return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"not an Ed25519 public key (PEM, or base64 of 32 bytes): {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"a public key, but {type(key).__name__} in place of Ed25519")
    return key


class Timing(_Section):
    """When one source is read, and when a reading is late."""

    interval_s: Seconds
    deadline_s: Seconds

    @model_validator(mode="after")
    def _ends_before_the_next(self) -> Self:
        if self.deadline_s > self.interval_s:
            raise ValueError(f"deadline_s {self.deadline_s:g} is longer than interval_s {self.interval_s:g}")
        return self


class Sources(_Section):
    """The timing of every polled source."""

    nvml: Timing = Timing(interval_s=15, deadline_s=10)
    rdma: Timing = Timing(interval_s=5, deadline_s=3)
    host: Timing = Timing(interval_s=30, deadline_s=10)


class KernelLog(_Section):
    """Where kernel records come from.

    `accept_userspace_records` believes lines that any privileged container can write; it is for trying things out.
    """

    path: Path = Path("/dev/kmsg")
    state_interval_s: Seconds = 10
    accept_userspace_records: bool = False


class Settings(_Section):
    """The whole file.

    Attributes:
        orders_allowed: what this node lets a controller ask of it; anything else is refused.
        trusted_keys: key id → public key of a controller. Without any, every order is refused.
        simulation_directory: when set, the node is a simulated one whose state lies there.
    """

    node: Name = Field(default_factory=socket.gethostname, validate_default=True)
    cell: Name = "main"
    broker: Broker
    state_directory: Path = Path("/var/lib/fleetmend-agent")
    status_interval_s: Seconds = 60
    orders_allowed: frozenset[OrderAction] = frozenset({OrderAction.RUN_CHECKS, OrderAction.COLLECT})
    trusted_keys: dict[str, TrustedKey] = {}
    kernel_log: KernelLog = KernelLog()
    sources: Sources = Sources()
    simulation_directory: Path | None = None


def load_settings(path: Path) -> Settings:
    """Return the settings in the file.

    Raises:
        SettingsError: with every problem at once.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError("\n".join(f"{path}: {line}" for line in _problems(error))) from error


def _problems(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_context=False)
    ]
