"""`fabric.cable`: cables whose modules report a fault, no light, or values beyond their own limits.

The module's own flags and limits are judged, no figures of ours. What follows from a link that is down is left to
`fabric.rdma_port`, and a port that was never up on this host is not judged: a plug that nobody uses is no fault. A host
without `mlxlink` is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.rdma import ACTIVE, DISABLED
from checks.readings import CableModule, CableReading, ModuleMeasure

ID = "fabric.cable"

FAILED = (Verdict.FAILED, Action.CHECK_CABLING)
WATCH = (Verdict.DEGRADED, Action.CHECK_CABLING)
UNKNOWN = (Verdict.UNKNOWN, Action.NONE)

Judged = tuple[str, tuple[Verdict, Action], str]
"""Code, judgement, and the sentence after the cable's name."""

DEAD = (
    ("module_fault", ("module_fw_fault", "datapath_fw_fault"), "its module's firmware reports a fault: replace it"),
    ("tx_fault", ("tx_fault",), "its transmitter reports a fault: replace it"),
)
"""Code, flags, sentence. Source of the flags and of how bad they are: CMIS 5.2; Meta gcm calls these critical."""

DARK = (
    ("rx_los", ("rx_los",), "no light or signal arrives: clean and reseat both ends, then look at the far end"),
    ("tx_los", ("tx_los",), "the module gets no signal from its adapter: reseat it, then change the module"),
)
"""Source: as above; the far end, or a port that is switched off, causes them as well."""

UNSTEADY = (
    ("cdr_lol", ("rx_cdr_lol", "tx_cdr_lol"), "its clock recovery does not lock"),
    ("equalizer", ("tx_eq_fault",), "its equalizer finds no setting"),
)
"""Source: as above; gcm warns."""

MEASURES = {
    "temperature_celsius": ("temperature", "°C"),
    "voltage_millivolt": ("voltage", "mV"),
    "bias_milliampere": ("bias", "mA"),
    "rx_power_dbm": ("rx_power", "dBm"),
    "tx_power_dbm": ("tx_power", "dBm"),
}
"""Measure → code and unit."""

ANY_STATE = frozenset({"temperature_celsius", "voltage_millivolt"})
"""Measures that say something while the link is down, too."""


def judge(readings: Sequence[CableReading]) -> tuple[Finding, ...]:
    """Return everything that the modules of ports in use say against themselves."""
    reading = readings[-1]
    found = [_finding(module, *judged) for module in reading.modules for judged in _judge(module)]
    return (*_judge_rights(reading), *found)


def _judge_rights(reading: CableReading) -> Iterator[Finding]:
    """Yield one unknown for all modules: that the agent lacks a right is one fault of the host's set-up."""
    if reading.denied:
        named = ", ".join(reading.denied)
        because = f"the agent may not ask the modules of {named}: `mlxlink` needs root"
        yield Finding(ID, "host", "denied", *UNKNOWN, because)


def _judge(module: CableModule) -> Iterator[Judged]:
    if not module.was_up:
        return
    if module.unreadable:
        yield "unreadable", UNKNOWN, f"it could not be asked: {module.unreadable}"
        return
    is_up = module.state in (None, ACTIVE)
    yield from _raised(module, DEAD, FAILED)
    if module.phys_state != DISABLED:
        yield from _raised(module, DARK, FAILED)
    if is_up:
        yield from _raised(module, UNSTEADY, WATCH)
    yield from (judged for each in module.measures if is_up or each.name in ANY_STATE for judged in _beyond(each))


def _raised(
    module: CableModule, kinds: Iterable[tuple[str, tuple[str, ...], str]], judgement: tuple[Verdict, Action]
) -> Iterator[Judged]:
    for code, names, sentence in kinds:
        raised = [f"{name}{_lanes_of(module.flags[name])}" for name in names if any(module.flags.get(name, ()))]
        if raised:
            yield code, judgement, f"{sentence} ({', '.join(raised)})"


def _lanes_of(flags: tuple[int, ...]) -> str:
    """Return which lanes a flag is up on, from 1, nothing for a flag of the whole module."""
    lanes = [str(lane) for lane, flag in enumerate(flags, start=1) if flag]
    return "" if len(flags) == 1 else f" on lane {', '.join(lanes)}"


def _beyond(measure: ModuleMeasure) -> Iterator[Judged]:
    """Judge one measure by the module's own limits."""
    code, unit = MEASURES.get(measure.name, ("", ""))
    low, high = measure.low, measure.high
    if not code or low is None or high is None:
        return
    outside = [value for value in measure.values if not low <= value <= high]
    if outside:
        shown = ", ".join(f"{value:g}" for value in outside)
        yield code, WATCH, f"{code.replace('_', ' ')} is {shown} {unit}, its own limits are {low:g} to {high:g}"


def _finding(module: CableModule, code: str, judgement: tuple[Verdict, Action], because: str) -> Finding:
    named = " ".join(word for word in (module.vendor, module.part, module.serial) if word)
    sentence = f"cable of port {module.name}{f' ({named})' if named else ''}: {because}"
    serial = module.serial or module.node_guid
    return Finding(ID, module.name, code, *judgement, sentence, module.pci, serial, _evidence(module))


def _evidence(module: CableModule) -> dict[str, str]:
    values = {
        "vendor": module.vendor,
        "part": module.part,
        "port_guid": module.node_guid,
        "module_state": module.module_state,
        **{each.name: ", ".join(f"{value:g}" for value in each.values) for each in module.measures},
        "effective_ber": "" if module.effective_ber is None else f"{module.effective_ber:g}",
    }
    return {name: text for name, text in values.items() if text}


CHECK = LevelCheck(
    id=ID,
    summary="Cables whose modules report a fault, no light, or values beyond their own limits (needs `mlxlink`).",
    reading=CableReading,
    judge=judge,
    outcomes=(
        *(Outcome(code, *FAILED) for code, *_ in (*DEAD, *DARK)),
        *(Outcome(code, *WATCH) for code, *_ in UNSTEADY),
        *(Outcome(code, *WATCH) for code, _ in MEASURES.values()),
        Outcome("unreadable", *UNKNOWN),
        Outcome("denied", *UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        because="a module keeps its flags up until they are read, so the first reading may tell of the past",
    ),
    thresholds={
        "module_fault, tx_fault, rx_los, tx_los": "the module's own flags (CMIS; critical in Meta gcm)",
        "cdr_lol, equalizer": "the module's own flags, while the link is up (CMIS; a warning in Meta gcm)",
        "temperature, voltage, bias, rx_power, tx_power": "the module's own limits",
    },
)
