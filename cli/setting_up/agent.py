"""What an agent's host is to have: its settings, its secret, its units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomli_w

from agent.settings import Settings, settings_in
from cli.place import Place
from cli.setting_up import units
from cli.setting_up.host import Host
from cli.setting_up.merging import merged
from cli.setting_up.part import Access, Part
from cli.setting_up.plan import File, Folder, Plan

SERVICE: Final = "fleetmend-agent"
FILE: Final = "/etc/fleetmend/agent.toml"
PART: Final = Part(SERVICE, user=SERVICE, file=FILE, folder="/etc/fleetmend/agent")
HEAD: Final = "# Written by `fleetmend setup agent`. Every key: docs/reference/settings.md\n"

LOOKING: Final = ("run_checks", "collect", "reach")
ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "repairs": ("restart_service", "reset_gpu", "reload_driver", "reboot"),
    "benchmarks": ("bench",),
    "holds": ("hold", "release"),
}
"""What `--allow` adds to what every agent lets a controller ask for."""

DROP_INS: Final = {"repairs": "repairs.conf", "benchmarks": "benchmarks.conf"}
HOLD_UNITS: Final = (
    "fleetmend-hold.service",
    "fleetmend-hold.path",
    "fleetmend-hold.timer",
    "fleetmend-held.target",
    "fleetmend-in-service.target",
)
RENEWING: Final = ("fleetmend-renew.service", "fleetmend-renew.timer")
RENEW_TIMER: Final = "fleetmend-renew.timer"
HOLD_ENABLED: Final = ("fleetmend-hold.path", "fleetmend-hold.timer", "fleetmend-hold.service")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the person, or the flags, said.

    Attributes:
        allow: names of ALLOWED.
        trusted_keys: key id → public key of a controller.
        more: further settings, which win over all others.
    """

    node: str
    access: Access
    cell: str = "main"
    allow: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    metrics_port: int = 0
    trusted_keys: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def document(answers: Answers, host: Host) -> dict[str, Any]:
    """Return the tables of agent.toml."""
    orders = [*LOOKING, *(order for name in ALLOWED if name in answers.allow for order in ALLOWED[name])]
    table: dict[str, Any] = {
        "node": answers.node,
        **({"cell": answers.cell} if answers.cell != "main" else {}),
        **({"orders_allowed": orders} if answers.allow else {}),
        "broker": PART.table(answers.access, host),
        **({"metrics": {"port": answers.metrics_port}} if answers.metrics_port else {}),
        **({"places": dict(answers.places)} if answers.places else {}),
        "trusted_keys": {key_id: {"public_key": key} for key_id, key in answers.trusted_keys.items()},
    }
    return merged({key: value for key, value in table.items() if value != {}}, answers.more)


def settings_plan(answers: Answers, host: Host) -> Plan:
    """Return the settings and the secret that they name."""
    text = HEAD + tomli_w.dumps(document(answers, host))
    return Plan((), (*PART.secrets(answers.access, host), File(FILE, text)))


def renews(document: Mapping[str, Any]) -> bool:
    """Return whether the node has the certificate of an enrolment, which has to be renewed."""
    broker = document.get("broker", {})
    certificate = broker.get("certificate_file", "") if isinstance(broker, Mapping) else ""
    return str(certificate).startswith(f"{PART.folder}/")


def base_plan(allow: tuple[str, ...], host: Host, place: Place, *, is_enrolled: bool = False) -> Plan:
    """Return the folders, units and drop-ins."""
    drop_ins = [(SERVICE, DROP_INS[name]) for name in DROP_INS if name in allow]
    if host.hands_credentials:
        drop_ins.append((SERVICE, "credentials.conf"))
    wanted = [f"{SERVICE}.service", *(HOLD_UNITS if "holds" in allow else ())]
    wanted += RENEWING if is_enrolled else ()
    beside = units.programs(("fleetmend-hold",)) if "holds" in allow else ()
    folders = (Folder("/etc/fleetmend", 0o755), *PART.credential_folders(host))
    return Plan(folders, (*units.files(place, wanted, drop_ins), *beside))


def enabled_units(allow: tuple[str, ...], *, is_enrolled: bool = False) -> tuple[str, ...]:
    """Return the units that start with the host."""
    renewing = (RENEW_TIMER,) if is_enrolled else ()
    return (f"{SERVICE}.service", *renewing, *(HOLD_ENABLED if "holds" in allow else ()))


def read_back(document: Mapping[str, Any], place: Place) -> Settings:
    """Return the settings as the agent would read them.

    Raises:
        SettingsError: with every problem at once.
    """
    return settings_in(place.seen(document, SERVICE), Path(FILE))
