"""`drop_ins`: whether the units have the rights that the settings need, and none that they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, Role, advice, fine, missing, unsafe
from cli.doctor.patient import FILES, SERVICES, Patient
from cli.place import CREDENTIALS, HANDED
from cli.setting_up import agent, units

CREDENTIALS_FILE = "credentials.conf"


@dataclass(frozen=True, slots=True)
class DropIns:
    """One service.

    Attributes:
        installed: names of our drop-ins that are there.
        wants_credentials: whether the settings name a credential.
        has_folder: whether the folder of credentials is there, without which the drop-in lets nothing start.
        orders: what the agent lets a controller order, empty for other daemons.
    """

    service: str
    installed: frozenset[str]
    wants_credentials: bool
    has_folder: bool
    orders: frozenset[str]


def read(patient: Patient) -> list[DropIns]:
    """Return what was added to each unit."""
    return [_of(patient, role) for role in patient.daemons]


def _of(patient: Patient, role: Role) -> DropIns:
    service = SERVICES[role]
    names = (CREDENTIALS_FILE, *agent.DROP_INS.values())
    installed = {name for name in names if units.found(patient.place, f"{service}.service.d/{name}")}
    file = patient.place.at(FILES[role])
    text = file.read_text("utf-8", "replace") if file.exists() else ""
    orders = patient.documents[role].get("orders_allowed", ()) if role is Role.AGENT else ()
    return DropIns(
        service=service,
        installed=frozenset(installed),
        wants_credentials=HANDED.format(service=service) in text,
        has_folder=patient.place.at(f"{CREDENTIALS}/{service}").is_dir(),
        orders=frozenset(orders),
    )


def judge(facts: list[DropIns]) -> Iterator[Diagnosis]:
    """Say where rights and settings do not fit."""
    for each in facts:
        wrong = [*_credentials(each), *_rights(each)]
        yield from wrong or [fine(f"The rights of {each.service} are those that its settings need.")]


def _credentials(each: DropIns) -> Iterator[Diagnosis]:
    has = CREDENTIALS_FILE in each.installed
    if each.wants_credentials and not has:
        yield missing(
            f"The settings of {each.service} name a credential, and it is handed none: {CREDENTIALS_FILE} is missing.",
            f"fleetmend setup {each.service.removeprefix('fleetmend-')} installs it.",
        )
    if has and not each.has_folder:
        yield missing(
            f"{each.service} does not start: there is no {CREDENTIALS}/{each.service}.",
            f"install -d -m 700 {CREDENTIALS}/{each.service}",
        )


def _rights(each: DropIns) -> Iterator[Diagnosis]:
    for name, drop_in in agent.DROP_INS.items():
        wanted = each.orders & set(agent.ALLOWED[name])
        if wanted and drop_in not in each.installed:
            orders = ", ".join(sorted(wanted))
            yield missing(
                f"The agent lets a controller order {orders}, and its unit may not do that: {drop_in} is missing.",
                f"fleetmend setup agent installs it; or take {orders} from orders_allowed.",
            )
        if drop_in in each.installed and not wanted:
            remove = f"rm /etc/systemd/system/{each.service}.service.d/{drop_in} && systemctl daemon-reload"
            yield _unused(name, drop_in, f"{remove} && systemctl restart {each.service}")


def _unused(name: str, drop_in: str, remedy: str) -> Diagnosis:
    sentence = f"{drop_in} gives the agent rights that none of its orders needs"
    return unsafe(f"{sentence}: it runs as root.", remedy) if name == "repairs" else advice(f"{sentence}.", remedy)


CHECK = Check("drop_ins", "Rights of the units against what the settings need.", DAEMONS, read, judge)
