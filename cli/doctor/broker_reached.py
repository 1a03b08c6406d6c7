"""`broker_reached`: whether each daemon is let in at its broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.broker_trial import holds_connection, try_brokers, visitor_of
from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, Role, fine, missing
from cli.doctor.patient import SERVICES, Patient
from cli.setting_up import systemd
from cli.setting_up.closing import STANDS_BY
from cli.setting_up.systemd import NotDone, Unit


@dataclass(frozen=True, slots=True)
class Reached:
    """One daemon.

    Attributes:
        is_running: then it is looked for its own connection: to try would be to push it out.
        stands_by: a standby connects to no broker.
        let_in: addresses that let it in, or to which it is connected.
        refused: address → why not.
    """

    service: str
    is_running: bool
    stands_by: bool
    let_in: tuple[str, ...]
    refused: Mapping[str, str]


def read(patient: Patient) -> list[Reached]:
    """Return how each daemon stands with its broker.

    Raises:
        OSError: the password cannot be read.
    """
    return [_of(patient, role) for role in patient.daemons if patient.broker_urls(role)]


def _of(patient: Patient, role: Role) -> Reached:
    service, urls = SERVICES[role], patient.broker_urls(role)
    unit = _shown(service) if patient.place.is_live and patient.host.runs_systemd else None
    if unit is not None and unit.active == "active":
        where = str(urls if isinstance(urls, str) else ", ".join(urls))
        let_in = (where,) if holds_connection(unit.process, urls) else ()
        return Reached(service, True, unit.status.startswith(STANDS_BY), let_in, {} if let_in else {where: ""})
    return _tried(service, urls, patient.broker(role))


def _tried(service: str, urls: str | tuple[str, ...], table: Mapping[str, Any]) -> Reached:
    try:
        seen = try_brokers(urls, visitor_of(table))
    except ValueError as error:
        return Reached(service, False, False, (), {str(urls): str(error)})
    let_in = tuple(each.address for each in seen if each.let_in)
    return Reached(service, False, False, let_in, {each.address: each.because for each in seen if not each.let_in})


def _shown(service: str) -> Unit | None:
    try:
        return systemd.show(f"{service}.service")
    except NotDone:
        return None


def judge(facts: list[Reached]) -> Iterator[Diagnosis]:
    """Say who has no broker."""
    for each in facts:
        yield from _judged(each)


def _judged(each: Reached) -> Iterator[Diagnosis]:
    if each.stands_by:
        yield fine(f"{each.service} stands by; only the one that leads connects to the broker.")
        return
    if each.let_in:
        how = "holds its connection to the broker at" if each.is_running else "is let in at the broker at"
        yield fine(f"{each.service} {how} {', '.join(each.let_in)}.")
        return
    said = "; ".join(f"{where}: {because}" if because else where for where, because in each.refused.items())
    if each.is_running:
        sentence = f"{each.service} runs and has no connection to the broker at {said}."
    else:
        sentence = f"{each.service} would not be let in at the broker ({said})."
    yield missing(
        sentence, f"Look at [broker] in its settings and at `journalctl -u {each.service}`; is the broker up?"
    )


CHECK = Check("broker_reached", "A broker that lets the daemons in.", DAEMONS, read, judge, needs_live=True)
