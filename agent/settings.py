"""The agent's configuration: one TOML file, validated whole before anything starts.

Every problem is reported at once with its path; nothing falls back silently. Secrets are read from files, never written
here.
"""

from __future__ import annotations

import base64
import socket
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from agent.sources.registry import SOURCES
from agent.sources.source import Declaration, Timing
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


class Source(_Section):
    """When one source is read, and when a reading is late.

    Attributes:
        enabled: whether it is read at all. The checks it feeds are `unknown` on a node where it is not.
        interval_s: between two readings while all is calm.
        fast_interval_s: the same while a fault is about to count, or has just come or gone.
        deadline_s: when a reading is late.
    """

    enabled: bool = True
    interval_s: Seconds
    fast_interval_s: Seconds
    deadline_s: Seconds

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.deadline_s > self.interval_s:
            raise ValueError(f"deadline_s {self.deadline_s:g} is longer than interval_s {self.interval_s:g}")
        if self.fast_interval_s > self.interval_s and "fast_interval_s" in self.model_fields_set:
            fast_s = self.fast_interval_s
            raise ValueError(f"fast_interval_s {fast_s:g} is longer than interval_s {self.interval_s:g}")
        return self

    def timing(self) -> Timing:
        """Return it as the source is given it; a declared fast interval is never longer than the one that was set."""
        return Timing(self.interval_s, min(self.fast_interval_s, self.interval_s), self.deadline_s)


def _section_of(declared: Declaration) -> tuple[type[Source], Source]:
    """Return the section of one source, with what it declares as defaults."""
    defaults: dict[str, Any] = {name: (Seconds, value) for name, value in asdict(declared.timing).items()}
    section = create_model(f"Source_{declared.name}", __base__=Source, __doc__=declared.summary, **defaults)
    return section, section.model_validate({})


_SECTIONS: Final[dict[str, Any]] = {declared.name: _section_of(declared) for declared in SOURCES}

Sources = create_model("Sources", __base__=_Section, __doc__="Every polled source, by its name.", **_SECTIONS)


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
    sources: Sources = Sources()  # type: ignore[valid-type] # made from the registry, which mypy cannot follow
    simulation_directory: Path | None = None

    def timings(self) -> dict[str, Timing]:
        """Return when each source is read that is not switched off."""
        chosen: dict[str, Source] = {declared.name: getattr(self.sources, declared.name) for declared in SOURCES}
        return {name: source.timing() for name, source in chosen.items() if source.enabled}


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
