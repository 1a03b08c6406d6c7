"""What a controller's host is to have: its settings, its secrets, its signing key, its units, and the broker's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomli_w

from cli.place import Place
from cli.setting_up import units
from cli.setting_up.host import Host
from cli.setting_up.merging import merged
from cli.setting_up.part import Access, Part
from cli.setting_up.plan import File, Folder, Plan
from controller.policy.playbook import Mode
from controller.settings import ControllerSettings, settings_in

SERVICE: Final = "fleetmend-controller"
BACKUP: Final = "fleetmend-backup"
USER: Final = "fleetmend"
FILE: Final = "/etc/fleetmend/controller.toml"
PART: Final = Part(SERVICE, user=USER, file=FILE, folder="/etc/fleetmend/controller")
STATE: Final = "/var/lib/fleetmend"
BACKUPS: Final = "/var/backups/fleetmend"
HEAD: Final = "# Written by `fleetmend setup controller`. Every key: docs/reference/settings.md\n"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the person, or the flags, said.

    Attributes:
        budget: `5%` of the fleet, or a number of nodes.
        http: host and port of the page and the API.
        mode: how far playbooks go by themselves.
        backs_up: whether the event log is backed up every day.
        more: further settings, which win over all others.
    """

    access: Access
    cell: str = "main"
    scheduler: str = "none"
    budget: str = "5%"
    mode: str = Mode.ASK
    http: tuple[str, int] = ("127.0.0.1", 8642)
    http_certificate_file: str = ""
    http_key_file: str = ""
    backs_up: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)


def document(answers: Answers, host: Host) -> dict[str, Any]:
    """Return the tables of controller.toml."""
    table: dict[str, Any] = {
        "state": STATE,
        **({"cell": answers.cell} if answers.cell != "main" else {}),
        "broker": PART.table(answers.access, host),
        "budget": _budget(answers.budget),
        "modes": {"fleet": str(answers.mode)},
        "scheduler": {"kind": answers.scheduler},
        "http": _http(answers),
        **({"access": {}} if answers.http_certificate_file else {}),
    }
    return merged(table, answers.more)


def _budget(text: str) -> dict[str, float | int]:
    return {"percent": float(text[:-1])} if text.endswith("%") else {"nodes": int(text)}


def _http(answers: Answers) -> dict[str, str | int]:
    address, port = answers.http
    files = {"certificate_file": answers.http_certificate_file, "key_file": answers.http_key_file}
    return {"host": address, "port": port, **{key: value for key, value in files.items() if value}}


def settings_plan(answers: Answers, host: Host) -> Plan:
    """Return the settings and the secret that they name."""
    text = HEAD + tomli_w.dumps(document(answers, host))
    return Plan((), (*PART.secrets(answers.access, host), File(FILE, text)))


def base_plan(host: Host, place: Place, *, backs_up: bool) -> Plan:
    """Return the folders, units and drop-ins."""
    others = (BACKUP,) if backs_up else ()
    folders = (Folder("/etc/fleetmend", 0o755), *PART.credential_folders(host, *others))
    drop_ins = [(each, "credentials.conf") for each in (SERVICE, *others) if host.hands_credentials]
    wanted = [f"{SERVICE}.service", *((f"{BACKUP}.service", f"{BACKUP}.timer") if backs_up else ())]
    return Plan(folders, units.files(place, wanted, drop_ins))


def owned_folders(host: Host, *, backs_up: bool) -> tuple[Folder, ...]:
    """Return the folders of the controller's own user, which must be there before."""
    kept = (Folder("/var/backups", 0o755), Folder(BACKUPS, 0o700, USER, USER)) if backs_up else ()
    return (*PART.own_folders(host), Folder(STATE, 0o700, USER, USER), *kept)


def enabled_units(*, backs_up: bool) -> tuple[str, ...]:
    """Return the units that start with the host."""
    return (f"{SERVICE}.service", *((f"{BACKUP}.timer",) if backs_up else ()))


def read_back(document: Mapping[str, Any], place: Place) -> ControllerSettings:
    """Return the settings as the controller would read them.

    Raises:
        SettingsError: with every problem at once.
    """
    return settings_in(place.seen(document, SERVICE), Path(FILE))
