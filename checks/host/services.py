"""`host.services`: services that are meant to run and do not, and those that fall over again and again.

What is meant to run is for systemd to say: a unit that is installed and enabled. One that something else starts
(`static`) counts once it has failed; one that somebody disabled, or whose own condition keeps it from starting, never.
Fabric Manager is needed where the host has NVSwitches, and has to be of the driver's very version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import ServicesReading, ServiceUnit

ID = "host.services"
FABRIC_MANAGER, IMEX = "nvidia-fabricmanager", "nvidia-imex"

ESSENTIAL = frozenset({"slurmd", "munge", "kubelet", "containerd", "crio"})
"""Without these no job is started here. Source: our choice; the scheduler sees the node gone and not why."""

ENABLED = ("enabled", "enabled-runtime", "linked", "linked-runtime", "alias")
STARTED_BY_OTHERS = ("static", "indirect", "generated", "transient")
"""Source: systemctl(1), is-enabled."""

UP = ("active", "reloading", "activating", "maintenance", "refreshing")
"""A unit that is starting has a time limit of its own, after which it fails. Source: systemctl(1), unit states."""

AUTO_RESTART = "auto-restart"
"""It has ended, and systemd waits before it starts it again. Source: systemd.service(5), Restart=."""

BOOT_GRACE_S = 300.0
"""Source: our choice: above systemd's own limit of 90 s for a start (DefaultTimeoutStartSec), some starts in a row."""

READINGS = 2
"""Source: our choice: a restart by hand takes seconds."""

WINDOW_S = 1200.0
RESTARTS_DEGRADED = 5
"""Within the window. Source: node-problem-detector: 5 starts of the kubelet or containerd in 20 min are a fault."""


def judge(readings: Sequence[ServicesReading]) -> tuple[Finding, ...]:
    """Return every service that should run and does not, or that does not stay up."""
    newest = readings[-1]
    down = (_down(unit, newest) for unit in newest.units if _should_run(unit) and not _is_up(unit))
    restarting = (finding for unit in newest.units for finding in _restarting(unit, readings))
    return (*(finding for finding in down if finding is not None), *restarting, *_other_version(newest))


def _should_run(unit: ServiceUnit) -> bool:
    if unit.enabled in ENABLED:
        return not unit.skipped
    return unit.enabled in STARTED_BY_OTHERS and unit.active == "failed"


def _is_up(unit: ServiceUnit) -> bool:
    return unit.active in UP and unit.sub != AUTO_RESTART


def _down(unit: ServiceUnit, reading: ServicesReading) -> Finding | None:
    said = f"{unit.name} is {unit.active or 'in no state'} ({unit.sub}, {unit.result})"
    if unit.name == FABRIC_MANAGER:
        return _fabric_manager_down(unit, reading, said) if reading.nvlink_fabric else None
    if unit.name == IMEX:
        because = f"{said}: GPUs of other hosts cannot be reached over NVLink; restart it"
        return _about(unit, "imex_down", Verdict.FAILED, Action.RESTART_SERVICE, because)
    if unit.name in ESSENTIAL:
        because = f"{said}: no job can be started here; restart it"
        return _about(unit, "down", Verdict.FAILED, Action.RESTART_SERVICE, because)
    because = f"{said}: jobs go on without it; restart it"
    return _about(unit, "down", Verdict.DEGRADED, Action.RESTART_SERVICE, because)


def _fabric_manager_down(unit: ServiceUnit, reading: ServicesReading, said: str) -> Finding:
    """A Fabric Manager of another version than the driver's refuses to start, however often it is told to."""
    if _versions_differ(reading):
        because = f"{said}: {_say_versions(reading)}, and so it never starts; install the driver's version"
        return _about(unit, "fabric_manager_version", Verdict.FAILED, Action.UPDATE_SOFTWARE, because)
    because = f"{said}: CUDA does not start without it (error 802); restart it, and reboot when that does not help"
    return _about(unit, "fabric_manager_down", Verdict.FAILED, Action.RESTART_SERVICE, because)


def _other_version(reading: ServicesReading) -> Iterator[Finding]:
    unit = next((unit for unit in reading.units if unit.name == FABRIC_MANAGER), None)
    if unit is None or not reading.nvlink_fabric or not _is_up(unit) or not _versions_differ(reading):
        return
    because = f"{_say_versions(reading)}: it runs on as it was started, and will not start again"
    yield _about(unit, "fabric_manager_version", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, because)


def _versions_differ(reading: ServicesReading) -> bool:
    """Return whether both versions are known and not the same."""
    known = reading.fabric_manager_version, reading.driver_version
    return all(known) and known[0] != known[1]


def _say_versions(reading: ServicesReading) -> str:
    return f"Fabric Manager {reading.fabric_manager_version} is installed beside driver {reading.driver_version}"


def _restarting(unit: ServiceUnit, readings: Sequence[ServicesReading]) -> Iterator[Finding]:
    restarts = growth(each.restarts for reading in readings for each in reading.units if each.name == unit.name)
    if restarts < RESTARTS_DEGRADED:
        return
    because = f"{unit.name} fell over and was started again {restarts} times within {WINDOW_S / 60:.0f} min"
    yield _about(unit, "restarting", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)


def _about(unit: ServiceUnit, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    evidence = {"unit_file": unit.enabled, "active": unit.active, "sub": unit.sub, "result": unit.result}
    return Finding(ID, unit.name, code, verdict, action, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Services of GPUs, fabric and scheduler that are down or do not stay up.",
    reading=ServicesReading,
    judge=judge,
    outcomes=(
        Outcome("fabric_manager_down", Verdict.FAILED, Action.RESTART_SERVICE),
        Outcome("fabric_manager_version", Verdict.FAILED, Action.UPDATE_SOFTWARE),
        Outcome("fabric_manager_version", Verdict.DEGRADED, Action.UPDATE_SOFTWARE),
        Outcome("imex_down", Verdict.FAILED, Action.RESTART_SERVICE),
        Outcome("down", Verdict.FAILED, Action.RESTART_SERVICE),
        Outcome("down", Verdict.DEGRADED, Action.RESTART_SERVICE),
        Outcome("restarting", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    window_s=WINDOW_S,
    policy=Policy(
        raise_after=READINGS,
        boot_grace_s=BOOT_GRACE_S,
        because="services start one after the other at boot, and are restarted by hand now and then",
    ),
    thresholds={
        "down": f"{READINGS} readings in a row (our choice) of an enabled unit that is not active",
        "restarts": f"{RESTARTS_DEGRADED} within {WINDOW_S / 60:.0f} min (node-problem-detector)",
        "version": "Fabric Manager's is the driver's (NVIDIA, Fabric Manager User Guide)",
        "grace": f"{BOOT_GRACE_S:.0f} s from the boot on (our choice)",
    },
)
