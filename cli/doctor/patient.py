"""The host that is looked at: its settings as they are written, and who can be asked about the rest."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cli.broker import CONTROLLER
from cli.broker_trial import urls_of
from cli.client import Client, Failed
from cli.doctor.diagnosis import Role
from cli.place import Place
from cli.setting_up import agent, broker, controller
from cli.setting_up.host import Host, look
from cli.setting_up.part import Part

PARTS: Final[Mapping[Role, Part]] = {Role.AGENT: agent.PART, Role.CONTROLLER: controller.PART}
SERVICES: Final[Mapping[Role, str]] = {
    Role.AGENT: agent.SERVICE,
    Role.CONTROLLER: controller.SERVICE,
    Role.BROKER: broker.SERVICE,
}
FILES: Final[Mapping[Role, str]] = {
    Role.AGENT: agent.FILE,
    Role.CONTROLLER: controller.FILE,
    Role.BROKER: broker.CONFIGURATION,
}


@dataclass(frozen=True, slots=True)
class Patient:
    """One host.

    Attributes:
        roles: what it is to fleetmend.
        documents: role → the tables of its settings with every path as we reach it; empty where they cannot be read.
        client: asks the controller's API.
    """

    place: Place
    host: Host
    roles: tuple[Role, ...]
    documents: Mapping[Role, Mapping[str, Any]]
    client: Client
    _answers: dict[str, Any] = field(default_factory=dict)

    @property
    def daemons(self) -> tuple[Role, ...]:
        """Those of its roles that connect to the broker."""
        return tuple(role for role in self.roles if role in PARTS)

    def broker(self, role: Role) -> Mapping[str, Any]:
        """Return the table [broker] of a daemon's settings."""
        table = self.documents[role].get("broker", {})
        return table if isinstance(table, Mapping) else {}

    def user(self, role: Role) -> str:
        """Return as whom a daemon comes to the broker where its settings name nobody."""
        return str(self.documents[role].get("node", self.host.name)) if role is Role.AGENT else CONTROLLER

    def broker_urls(self, role: Role) -> str | tuple[str, ...]:
        """Return where the broker of a daemon is; a controller that does not say has one beside it."""
        return urls_of(self.broker(role)) or (DEFAULT_BROKER if role is Role.CONTROLLER else "")

    def state(self, role: Role) -> Path:
        """Return the folder in which a daemon keeps what it must not lose."""
        keys = {
            Role.AGENT: ("state_directory", "/var/lib/fleetmend-agent"),
            Role.CONTROLLER: ("state", controller.STATE),
        }
        key, usual = keys[role]
        written = str(self.documents[role].get(key, usual))
        path = Path(written)
        return path if path.is_relative_to(self.place.root) and not self.place.is_live else self.place.at(written)

    def ask(self, path: str) -> Any:
        """Return what the controller's API has there; asked once.

        Raises:
            Failed: it does not answer, or says no.
        """
        if path not in self._answers:
            self._answers[path] = self.client.get(path)
        return self._answers[path]


STARTED_WITH: Final = "/etc/systemd/system/multi-user.target.wants"
"""Where `systemctl enable` puts the links to our services."""

DEFAULT_BROKER: Final = "mqtt://127.0.0.1:1883"


def patient_at(place: Place, wanted: Role | None, client: Client) -> Patient:
    """Return the host at a place, as what was asked for or as all that it shows to be."""
    roles = (wanted,) if wanted else tuple(role for role in Role if _is(place, role))
    documents = {role: _document(place, role) for role in Role}
    return Patient(place, look(place), roles, documents, client)


def _is(place: Place, role: Role) -> bool:
    """Return whether there are its settings, or its unit starts with the host: a package brings all units."""
    return place.has(FILES[role]) or place.has(f"{STARTED_WITH}/{SERVICES[role]}.service")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _document(place: Place, role: Role) -> Mapping[str, Any]:
    """Return the tables as we reach them; what is wrong with the file, the check `settings` says."""
    if role is Role.BROKER:
        return {}
    return place.seen(_read(place.at(FILES[role])), SERVICES[role])


def files_named(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield key and path of every setting that names a file (`..._file`), however deep."""
    for key, value in document.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from files_named(value, where)
        elif isinstance(value, list):
            for each in value:
                yield from files_named(each, where) if isinstance(each, Mapping) else ()
        elif isinstance(value, str) and key.endswith("_file"):
            yield where, value


__all__ = ["PARTS", "SERVICES", "Failed", "Patient", "files_named", "patient_at"]
