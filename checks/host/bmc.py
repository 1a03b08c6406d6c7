"""`host.bmc`: power supplies, fans and temperatures that the BMC finds wrong, and what it wrote into its event log.

Sensors say how things are now. An entry of the log says what happened, also what a sensor no longer shows: a machine
check that reset the host, a power supply that lost its feed. It stands for a day, unless the log says that it is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import BmcReading
from checks.readings.bmc import BmcEvent, BmcSensor

ID = "host.bmc"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an entry of the event log means whose sensor and event, joined by ` | `, the pattern finds."""

    code: str
    pattern: re.Pattern[str]
    verdict: Verdict
    action: Action
    reason: str


def _rule(code: str, pattern: str, verdict: Verdict, action: Action, reason: str) -> Rule:
    return Rule(code, re.compile(pattern, re.IGNORECASE), verdict, action, reason)


RULES = (
    _rule(
        "machine_check",
        r"uncorrectable machine check|NVIDIA_MCA_Error|\| IERR|\| Thermal Trip",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "a processor failed",
    ),
    _rule(
        "memory",
        r"\| Uncorrectable ECC|\| Uncorrectable memory",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "main memory had an error that could not be corrected: replace the DIMM",
    ),
    _rule(
        "bus",
        r"\| Bus Fatal Error|\| PCI SERR",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "a device on the PCI bus failed fatally",
    ),
    _rule(
        "power_supply",
        r"Power (?:Supply|Unit).*\| .*(?:AC lost|input lost|Failure detected|Predictive failure|Redundancy Lost)",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        "a power supply failed or lost its feed",
    ),
    _rule(
        "fan",
        r"^Fan\b.*\| Lower (?:Critical|Non-recoverable) going low",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        "a fan is too slow",
    ),
    _rule(
        "firmware",
        r"BIOS.*corrupt|\| Firmware.*corrupt",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        "the firmware's image is damaged: the host may not come back from its next boot",
    ),
    _rule(
        "throttled",
        r"Processor.*\| .*Throttled|\| Processor Automatically Throttled",
        Verdict.DEGRADED,
        Action.NONE,
        "a processor was slowed down by its heat or its power",
    ),
)
"""Source: Meta gcm, check-ipmitool check-sel, whose patterns these cover; wording of ipmitool 1.8.19,
include/ipmitool/ipmi_sel.h, and of the IPMI specification 2.0, table 42-3."""

LOGGED = Rule(
    "logged",
    re.compile(""),
    Verdict.DEGRADED,
    Action.CONTACT_SUPPORT,
    "the BMC calls it critical",
)
"""What an entry means that no rule knows and that the BMC itself grades: vendors word them each in their own way.
Source: Redfish, LogEntry, `Severity`; our choice: one entry alone does not take a node out."""

_LIMIT = re.compile(r"^(?:Lower|Upper) (?:Non-critical|Critical|Non-recoverable) going")
"""A limit that was crossed: the sensor shows whether it still is. Source: IPMI 2.0, table 42-2."""

STATUS = {
    "cr": (Verdict.DEGRADED, "critical"),
    "nr": (Verdict.FAILED, "beyond what it recovers from"),
}
"""`nc`, non-critical, is where a fan speeds up by itself: no finding."""

WARNED = frozenset({"supply", "fan"})
"""Kinds of parts with nothing that could speed up for them: for these, a warning is one. Source: our choice."""

_BROKEN_SUPPLY = re.compile(r"Failure detected|AC lost|input lost|Redundancy Lost", re.IGNORECASE)


def judge(readings: Sequence[BmcReading]) -> tuple[Finding, ...]:
    """Return what is wrong now, and what the log says of the last day."""
    reading = readings[-1]
    if not reading.present:
        return ()
    return (*_judge_answer(reading), *_judge_sensors(reading), *_judge_log(reading))


def _judge_answer(reading: BmcReading) -> Iterator[Finding]:
    if reading.failure:
        because = f"the BMC could not be asked: {reading.failure}"
        yield Finding(ID, "host", "unreadable", Verdict.UNKNOWN, Action.NONE, because)


def _judge_sensors(reading: BmcReading) -> Iterator[Finding]:
    """Yield what is wrong with the parts, and with the system as a whole only where no part explains it."""
    parts = [sensor for sensor in reading.sensors if sensor.kind != "system"]
    found = [finding for sensor in parts for finding in _judge_sensor(sensor)]
    wholes = [sensor for sensor in reading.sensors if sensor.kind == "system"]
    yield from found or (finding for sensor in wholes for finding in _judge_sensor(sensor))


def _judge_sensor(sensor: BmcSensor) -> Iterator[Finding]:
    if sensor.status in STATUS:
        verdict, words = STATUS[sensor.status]
        because = f"sensor {sensor.name} is {words}: {sensor.text or 'no reading'}"
        yield Finding(ID, sensor.name, "sensor", verdict, Action.CONTACT_SUPPORT, because, serial=sensor.serial)
    elif _BROKEN_SUPPLY.search(sensor.text):
        because = f"sensor {sensor.name} says: {sensor.text}"
        yield _asking(sensor, "supply", because)
    elif sensor.status == "nc" and sensor.kind in WARNED:
        because = f"{sensor.kind} {sensor.name} has a warning: {sensor.text or 'no reading'}"
        yield _asking(sensor, "sensor", because)


def _asking(sensor: BmcSensor, code: str, because: str) -> Finding:
    verdict, action = Verdict.DEGRADED, Action.CONTACT_SUPPORT
    return Finding(ID, sensor.name, code, verdict, action, because, serial=sensor.serial)


def _judge_log(reading: BmcReading) -> Iterator[Finding]:
    latest = {(event.sensor, event.event): event for event in reading.events}
    found: dict[tuple[str, str], Finding] = {}
    for event in latest.values():
        rule = _rule_of(event)
        if rule is not None:
            found[event.sensor, rule.code] = _logged(event, rule)
    yield from found.values()


def _rule_of(event: BmcEvent) -> Rule | None:
    text = f"{event.sensor} | {event.event}"
    if not event.asserted:
        return None
    graded = LOGGED if event.severity == "critical" and not _LIMIT.match(event.event) else None
    return next((rule for rule in RULES if rule.pattern.search(text)), graded)


def _logged(event: BmcEvent, rule: Rule) -> Finding:
    because = f"{rule.reason}; the BMC's log, entry {event.record}: {event.sensor} | {event.event}"
    evidence = {"record": str(event.record), "event": event.event}
    return Finding(ID, event.sensor, rule.code, rule.verdict, rule.action, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Power supplies, fans, temperatures and logged hardware errors, as the BMC sees them.",
    reading=BmcReading,
    judge=judge,
    outcomes=(
        *(Outcome(rule.code, rule.verdict, rule.action) for rule in (*RULES, LOGGED)),
        *(Outcome("sensor", verdict, Action.CONTACT_SUPPORT) for verdict, _ in STATUS.values()),
        Outcome("supply", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(clear_after=2, because="a sensor that is read at the edge of its limit goes to and fro"),
    thresholds={
        "sensor": "the BMC's own limits: critical degraded, non-recoverable failed; of a supply or fan by Redfish, a "
        "warning, too (our choice)",
        "log": "entries that came within a day and whose end was not logged (our choice)",
    },
)
