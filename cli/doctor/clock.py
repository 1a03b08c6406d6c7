"""`clock`: whether the host's clock is kept. Orders and certificates are good for a span of time."""

from __future__ import annotations

from collections.abc import Iterator

from agent.sources.time import SOURCE, TimeSource
from checks.host.time import judge as judged
from checks.readings import TimeReading
from cli.doctor.diagnosis import ALL, Check, Diagnosis, advice, fine, missing
from cli.doctor.one_reading import one_reading
from cli.doctor.patient import Patient


def read(patient: Patient) -> TimeReading:
    """Return what the daemon that keeps the clock says.

    Raises:
        CannotLook: it does not answer and cannot be ended.
    """
    return one_reading(lambda at: TimeSource(at, SOURCE.timing), patient.place.root)


def judge(reading: TimeReading) -> Iterator[Diagnosis]:
    """Say whether the clock can be believed."""
    remedy = "Install and start chrony, or systemd-timesyncd: systemctl enable --now chrony"
    if not reading.daemon:
        yield advice("Nobody here says that the clock is kept.", f"{remedy} (a container has the clock of its host)")
        return
    findings = judged([reading])
    for finding in findings:
        yield missing(
            f"{finding.because[0].upper()}{finding.because[1:]}: orders and certificates are refused.", remedy
        )
    if not findings:
        yield fine(f"The clock is kept by {reading.daemon}.")


CHECK = Check("clock", "A clock that is kept.", ALL, read, judge, needs_live=True)
