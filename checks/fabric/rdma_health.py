"""`fabric.rdma_health`: RDMA adapters whose driver reports that their firmware or their queues are broken.

The driver watches its adapter and mends what it can. What it could not mend stays in state `error`; what it mended is
counted, and is a fault that may come again. A host without `devlink` is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.readings import AdapterHealth, DevlinkReading, HealthReporter

ID = "fabric.rdma_health"
WINDOW_S = 3600.0
"""Source: our choice: what came once within the hour is still to be seen."""

HEALTHY, ERROR = "healthy", "error"
"""Source: iproute2, devlink/devlink.c, `health_state_name`."""

FIRMWARE = {
    "fw_fatal": "the adapter's firmware is dead and the driver could not bring it back",
    "fw": "the adapter's firmware reports a fault",
}
"""Source: kernel, Documentation/networking/devlink/mlx5.rst; bnxt has both as well."""

QUEUES = {"tx": "a send queue hangs and could not be started anew", "rx": "a receive queue could not be started anew"}

FAILED = (Verdict.FAILED, Action.REBOOT)
TICKET = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
WATCH = (Verdict.DEGRADED, Action.NONE)
UNKNOWN = (Verdict.UNKNOWN, Action.NONE)

Judged = tuple[str, tuple[Verdict, Action], str]
"""Code, judgement, and the sentence after the adapter's name."""


def judge(readings: Sequence[DevlinkReading]) -> tuple[Finding, ...]:
    """Return everything that drivers report of their adapters."""
    return tuple(finding for adapter in readings[-1].adapters for finding in _judge_adapter(adapter, readings))


def _judge_adapter(adapter: AdapterHealth, readings: Sequence[DevlinkReading]) -> Iterator[Finding]:
    named = {reporter.name: reporter for reporter in sorted(adapter.reporters, key=_badness)}
    for name, reporter in named.items():
        for code, judgement, because in _judge(reporter, _errors(adapter, name, readings)):
            yield _finding(adapter, reporter, code, judgement, because)
    strange = [reporter for reporter in named.values() if reporter.state not in (HEALTHY, ERROR)]
    if strange:
        told = ", ".join(f"{reporter.name}: {reporter.state or 'nothing'}" for reporter in strange)
        yield _finding(adapter, strange[0], "unreadable", UNKNOWN, f"its driver tells no known state ({told})")


def _badness(reporter: HealthReporter) -> int:
    """Return a rank: of reporters of one name, as ports have them, the worst speaks."""
    return 2 if reporter.state == ERROR else int(reporter.state != HEALTHY)


def _judge(reporter: HealthReporter, errors: Sequence[int]) -> Iterator[Judged]:
    name = reporter.name
    if reporter.state == ERROR and name in FIRMWARE:
        yield name, FAILED, f"{FIRMWARE[name]} (reporter {name})"
    elif reporter.state == ERROR:
        code, because = (name, QUEUES[name]) if name in QUEUES else (f"other_{name}", "its driver reports a fault")
        yield code, TICKET, f"{because} (reporter {name})"
    elif grown := growth(errors):
        judgement = TICKET if name in FIRMWARE else WATCH
        because = f"errors of reporter {name} that the driver mended within {WINDOW_S / 60:.0f} min: {grown}"
        yield f"{name}_errors", judgement, because


def _errors(adapter: AdapterHealth, name: str, readings: Sequence[DevlinkReading]) -> list[int]:
    """Return how many errors the reporters of that name counted, oldest first; ports have one each."""
    return [
        sum(reporter.errors or 0 for reporter in each.reporters if reporter.name == name)
        for reading in readings
        for each in reading.adapters
        if (each.name, each.address) == (adapter.name, adapter.address)
        and any(reporter.name == name and reporter.errors is not None for reporter in each.reporters)
    ]


def _finding(
    adapter: AdapterHealth, reporter: HealthReporter, code: str, judgement: tuple[Verdict, Action], because: str
) -> Finding:
    values = {"errors": reporter.errors, "recoveries": reporter.recoveries, "dumped": reporter.dumped or None}
    evidence = {name: str(value) for name, value in values.items() if value is not None}
    sentence = f"adapter {adapter.name} ({adapter.address}): {because}"
    return Finding(ID, adapter.name, code, *judgement, sentence, adapter.pci, adapter.node_guid, evidence)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA adapters whose driver reports broken firmware or queues (needs `devlink`).",
    reading=DevlinkReading,
    judge=judge,
    outcomes=(
        *(Outcome(name, *FAILED) for name in FIRMWARE),
        *(Outcome(name, *TICKET) for name in QUEUES),
        *(Outcome(f"{name}_errors", *TICKET) for name in FIRMWARE),
        Outcome("other_*", *TICKET),
        Outcome("*_errors", *WATCH),
        Outcome("unreadable", *UNKNOWN),
    ),
    window_s=WINDOW_S,
    thresholds={
        "fw_fatal, fw, tx, rx": "the driver's own state `error`",
        "*_errors": f"any growth of the driver's own count within {WINDOW_S / 60:.0f} min",
    },
)
