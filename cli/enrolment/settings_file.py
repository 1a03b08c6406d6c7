"""agent.toml with a host's identity in it: written anew, or put into the one that is there, which keeps all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError

from agent.enrolment import Enrolment
from agent.small_file import NoToml, parse_toml, read_file
from agent.strict import Reader
from cli.client import Failed
from cli.exit_codes import ExitCode
from controller.access.files import write

DEFAULT: Final = Path("/etc/fleetmend/agent.toml")
HEAD: Final = "Written by `fleetmend enrol`. Every key: docs/reference/settings.md"
MAX_BYTES: Final = 1 << 20
PUBLIC: Final = 0o644
DEFAULT_CELL: Final = "main"
REPLACED: Final = ("username", "password_file")
"""Of [broker]: with a certificate none of them is needed, and nobody is to wonder which of the two counts."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a host's settings say of its identity.

    Attributes:
        cell: whose node it is.
        authorities: the CAs that it trusts at the broker, `None` for the system's.
    """

    cell: str
    certificate: Path
    key: Path
    authorities: Path | None
    enrolment: Enrolment


def before(path: Path, *, keep: bool, force: bool) -> TOMLDocument:
    """Return the settings that the identity is put into: those that are there, or none.

    Raises:
        Failed: there are some, and nobody said what to do with them; or they cannot be read.
    """
    if not path.exists() or force:
        return tomlkit.document()
    if not keep:
        raise Failed(
            f"{path} is there already: --keep-settings puts the identity into it and leaves all else, --force writes "
            "it anew. Nothing was done",
            ExitCode.NO_OUTPUT,
        )
    try:
        return tomlkit.parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise Failed(f"{path}: {error}", ExitCode.CONFIG) from error


def put(document: TOMLDocument, identity: Mapping[str, Any]) -> None:
    """Put an identity into settings: node, cell, and the keys that it names in its tables."""
    if not document:
        document.add(tomlkit.comment(HEAD))
    document["node"] = identity["node"]
    if identity["cell"] != DEFAULT_CELL or "cell" in document:
        document["cell"] = identity["cell"]
    for name in ("broker", "enrolment", "trusted_keys"):
        if not isinstance(document.get(name), dict):
            document[name] = tomlkit.table()
    table: Any = document["broker"]
    for key in REPLACED:
        table.pop(key, None)
    table.update(identity["broker"])
    enrolment: Any = document["enrolment"]
    enrolment.pop("ca_file", None)
    enrolment.update(identity["enrolment"])
    document["trusted_keys"] = {key_id: {"public_key": key} for key_id, key in identity["trusted_keys"].items()}


def write_settings(path: Path, document: TOMLDocument) -> None:
    """Replace the settings.

    Raises:
        Failed: they cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, tomlkit.dumps(document).encode(), mode=PUBLIC)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", ExitCode.NO_OUTPUT) from error


def named_in(path: Path) -> Named:
    """Return what the settings say of the host's identity; the rest of them is for the agent to judge.

    Raises:
        Failed: they cannot be read, or name no identity that can be renewed.
    """
    try:
        document = parse_toml(read_file(path, most_bytes=MAX_BYTES + 1), most_bytes=MAX_BYTES)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", ExitCode.NO_INPUT) from error
    except NoToml as error:
        raise Failed(f"{path}: {error}", ExitCode.CONFIG) from error
    reader = Reader()
    enrolment = reader.table(document.get("enrolment", {}), Enrolment, "enrolment")
    if enrolment is None:
        raise Failed("\n".join(f"{path}: {problem}" for problem in reader.problems), ExitCode.CONFIG)
    broker = document.get("broker")
    certificate, key, authorities = (_file_in(broker, name) for name in ("certificate_file", "key_file", "ca_file"))
    if not enrolment.controllers or certificate is None or key is None:
        because = "it names no [enrolment] controllers, or no [broker] certificate_file and key_file"
        raise Failed(f"{path}: {because}: was this host enrolled? `fleetmend enrol` does it", ExitCode.CONFIG)
    return Named(str(document.get("cell", DEFAULT_CELL)), certificate, key, authorities, enrolment)


def _file_in(table: object, key: str) -> Path | None:
    found = table.get(key) if isinstance(table, dict) else None
    return Path(found) if isinstance(found, str) and found else None
