"""`services`: whether each daemon is installed, starts with the host, and runs with the files that are there."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.diagnosis import ALL, CannotLook, Check, Diagnosis, advice, fine, missing
from cli.doctor.patient import SERVICES, Patient
from cli.setting_up import systemd
from cli.setting_up.systemd import NotDone, Unit


def read(patient: Patient) -> list[Unit]:
    """Return what systemd says of each.

    Raises:
        CannotLook: there is no systemd.
    """
    return shown(patient)


def shown(patient: Patient) -> list[Unit]:
    """Return what systemd says of each service of a host.

    Raises:
        CannotLook: there is no systemd.
    """
    try:
        return [systemd.show(f"{SERVICES[role]}.service") for role in patient.roles]
    except NotDone as error:
        raise CannotLook(str(error)) from error


def judge(facts: list[Unit]) -> Iterator[Diagnosis]:
    """Say what does not run, or will not after the next boot."""
    for unit in facts:
        yield from _judged(unit)


def _judged(unit: Unit) -> Iterator[Diagnosis]:
    name = unit.name.removesuffix(".service")
    if unit.load != "loaded":
        yield missing(f"{unit.name} is {unit.load}.", f"fleetmend setup {name.removeprefix('fleetmend-')}")
        return
    if unit.active != "active":
        why = f" ({unit.result})" if unit.result not in {"", "success"} else ""
        yield missing(
            f"{name} does not run: it is {unit.active}{why}.", f"journalctl -eu {name}; systemctl start {name}"
        )
    else:
        said = f": {unit.status}" if unit.status else "."
        yield fine(f"{name} runs{said}")
    if unit.enabled in {"disabled", "masked"}:
        yield missing(f"{name} does not start with the host: it is {unit.enabled}.", f"systemctl enable {name}")
    if unit.needs_reload:
        yield advice(
            f"The files of {unit.name} changed since systemd read them.",
            f"systemctl daemon-reload && systemctl restart {name}",
        )


CHECK = Check("services", "Units that are installed, enabled and run.", ALL, read, judge, needs_live=True)
