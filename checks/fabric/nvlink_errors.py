"""`fabric.nvlink_errors`: NVLinks that lose, repeat or damage what they carry.

Each generation of NVLink counts other things, and what a GPU does not count is not judged. Counters are judged by their
growth within the window and from the last reset on, so that a reset that mends a link is seen to mend it; error rates
that the link itself keeps, as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvlink import SHARED_CAUSE, bit_error_rate
from checks.nvml import UNREADABLE, about, judgeable, unreadable
from checks.policy import Policy
from checks.readings import GpuReading, NvlinkCounters, NvmlReading

ID = "fabric.nvlink_errors"
WINDOW_S = 600.0
"""Source: our choice: ten readings of the counters."""

SHORTEST_S = 50.0
"""No rate is told of less. Source: our choice: just below the minute between two readings of the counters."""

WARN_PER_MIN = 1.0
"""Replays, CRC errors, blocks with many corrected symbols. Source: our choice, after DCGM, which warns at the first CRC
error of a period and fails at the first replay; both are mended on the link and cost no more than time."""

CRC_FAILED_PER_S = 100.0
"""Source: DCGM, health watch of NVLink up to generation 4."""

MAX_BER = 1e-12
"""Source: DCGM, health watch of NVLink 5: effective bit error rate. Tests of later versions fail at any rate at all;
what lies between is `degraded` here, by the effective errors that are counted."""

HIGH_BIN = 6
"""Blocks with so many corrected symbols, or more, are an early warning. Source: our choice: at the raw error rate of
1e-6 of a good lane, one of 200 Gb/s sees the first of them in twenty years."""

RETRY_RATIO = 1e-4
"""Of all blocks, those sent again. Source: our choice: four orders above what a link at MAX_BER has to repeat."""

Series = list[tuple[float, tuple[int | None, ...]]]
"""When, and the value of each link."""

Samples = list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """When the growth of a counter is a fault.

    Attributes:
        counters: names of fields of NvlinkCounters.
        is_fault: judges when and what one link counted, oldest first, since the last reset.
    """

    code: str
    verdict: Verdict
    counters: tuple[str, ...]
    is_fault: Callable[[Samples], bool]
    what: str


def _grew(samples: Samples) -> bool:
    return samples[-1][1] > samples[0][1]


def _grew_steadily(samples: Samples) -> bool:
    (first_s, first), (last_s, last) = samples[0], samples[-1]
    return last_s - first_s >= SHORTEST_S and (last - first) * 60.0 >= WARN_PER_MIN * (last_s - first_s)


def _grew_fast(samples: Samples) -> bool:
    """Return whether there was any minute of a flood."""
    return any(
        after_s - before_s >= SHORTEST_S and after - before >= CRC_FAILED_PER_S * (after_s - before_s)
        for (before_s, before), (after_s, after) in pairwise(samples)
    )


RULES = (
    Rule("recovery", Verdict.FAILED, ("recoveries", "recovery_events", "recoveries_succeeded"), _grew, "retrained"),
    Rule("recovery_failed", Verdict.FAILED, ("recoveries_failed",), _grew, "failed to retrain"),
    Rule(
        "errors",
        Verdict.FAILED,
        (
            "malformed_packets",
            "buffer_overruns",
            "receive_errors",
            "remote_errors",
            "general_errors",
            "integrity_errors",
            "symbol_errors",
        ),
        _grew,
        "damaged what they carry",
    ),
    Rule("crc", Verdict.FAILED, ("crc_errors",), _grew_fast, f"had {CRC_FAILED_PER_S:.0f} CRC errors a second"),
    Rule("crc", Verdict.DEGRADED, ("crc_errors",), _grew_steadily, f"have {WARN_PER_MIN:g} CRC error a minute or more"),
    Rule("replay", Verdict.DEGRADED, ("replays",), _grew_steadily, f"replay {WARN_PER_MIN:g} time a minute or more"),
    Rule("effective_errors", Verdict.DEGRADED, ("effective_errors",), _grew, "have errors beyond what they correct"),
    Rule("discards", Verdict.DEGRADED, ("transmit_discards",), _grew, "discarded packets that they should send"),
)
"""Where two rules have one code, the first that applies to any link speaks. Source: DCGM, health watch of NVLink, which
fails at the first of each failed kind; effective errors are left to their rate (MAX_BER), which allows for a few."""


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU whose links count errors, one finding for each kind of error."""
    gpus, histories = judgeable(readings[-1]), _histories(readings)
    return tuple(finding for gpu in gpus for finding in _judge_gpu(gpu, histories.get(gpu.uuid, [])))


def _histories(readings: Sequence[NvmlReading]) -> dict[str, list[tuple[float, GpuReading]]]:
    """Return the readings of each GPU for which its counters were asked, oldest first."""
    histories: dict[str, list[tuple[float, GpuReading]]] = {}
    for reading in readings:
        for gpu in reading.gpus:
            if gpu.nvlink is not None and (gpu.nvlink.counters is not None or gpu.nvlink.counters_unreadable):
                histories.setdefault(gpu.uuid, []).append((reading.at_s, gpu))
    return histories


def _judge_gpu(gpu: GpuReading, history: Sequence[tuple[float, GpuReading]]) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "nvlink")
    if gpu.nvlink is None or gpu.nvlink.mig or not history:
        return
    newest = history[-1][1].nvlink
    if newest is None or newest.counters is None:
        why = newest.counters_unreadable if newest else ""
        yield about(ID, gpu, UNREADABLE, Verdict.UNKNOWN, Action.NONE, f"error counters are not readable: {why}")
        return
    counted = [(at_s, each.nvlink.counters) for at_s, each in history if each.nvlink and each.nvlink.counters]
    said: set[str] = set()
    for rule in RULES:
        if rule.code not in said and (links := _at_fault(rule, counted)):
            said.add(rule.code)
            yield _finding(gpu, rule.code, rule.verdict, rule.what, links)
    yield from _rates(gpu, newest.counters)
    yield from _blocks(gpu, counted)


def _at_fault(rule: Rule, counted: Sequence[tuple[float, NvlinkCounters]]) -> dict[int, str]:
    """Return link → what it counted."""
    found: dict[int, str] = {}
    for name in rule.counters:
        for link, samples in _moved((at_s, getattr(counters, name)) for at_s, counters in counted):
            if rule.is_fault(samples):
                grown = f"{name} +{samples[-1][1] - samples[0][1]}"
                found[link] = f"{found[link]}, {grown}" if link in found else grown
    return found


def _moved(series: Iterable[tuple[float, tuple[int | None, ...]]]) -> Iterator[tuple[int, Samples]]:
    """Yield each link whose counter moved since the last reset, with when it stood at what.

    Nearly always nothing has moved on any link, and that is all that is looked at then.
    """
    known: Series = [(at_s, values) for at_s, values in series if values]
    if len(known) < 2 or all(values == known[0][1] for _, values in known):
        return
    for link in range(len(known[-1][1])):
        samples = _since_reset((at_s, values[link]) for at_s, values in known if link < len(values))
        if len(samples) > 1:
            yield link, samples


def _since_reset(samples: Iterable[tuple[float, int | None]]) -> Samples:
    since: Samples = []
    for at_s, value in samples:
        if value is None:
            continue
        if since and value < since[-1][1]:
            since = []
        since.append((at_s, value))
    return since


def _rates(gpu: GpuReading, counters: NvlinkCounters) -> Iterator[Finding]:
    """Yield the links that themselves say that too many of their bits are wrong."""
    found: dict[int, str] = {}
    for name, values in (("effective", counters.effective_ber), ("symbol", counters.symbol_ber)):
        rates = {link: bit_error_rate(value) for link, value in enumerate(values) if value is not None}
        found |= {link: f"{name} BER {rate:.0e}" for link, rate in rates.items() if rate > MAX_BER}
    if found:
        yield _finding(gpu, "ber", Verdict.FAILED, f"have a bit error rate above {MAX_BER:.0e}", found)


def _blocks(gpu: GpuReading, counted: Sequence[tuple[float, NvlinkCounters]]) -> Iterator[Finding]:
    """Yield the early warnings of links that correct much, or send much again."""
    corrected: dict[int, str] = {}
    for number in range(HIGH_BIN, max((len(counters.fec_history) for _, counters in counted), default=0)):
        bins = ((at_s, _history_bin(counters, number)) for at_s, counters in counted)
        corrected |= {link: f"bin {number}" for link, samples in _moved(bins) if _grew_steadily(samples)}
    if corrected:
        what = f"correct {HIGH_BIN} symbols or more of a block, {WARN_PER_MIN:g} time a minute or more"
        yield _finding(gpu, "fec", Verdict.DEGRADED, what, corrected)
    repeated = dict(_moved((at_s, counters.plr_retries) for at_s, counters in counted))
    sent = dict(_moved((at_s, counters.plr_blocks) for at_s, counters in counted)) if repeated else {}
    ratios = {link: _grown(samples) / max(1, _grown(sent.get(link, []))) for link, samples in repeated.items()}
    if retried := {link: f"{ratio:.1e} of blocks" for link, ratio in ratios.items() if ratio >= RETRY_RATIO}:
        yield _finding(gpu, "retries", Verdict.DEGRADED, f"send more than {RETRY_RATIO:.0e} of blocks again", retried)


def _history_bin(counters: NvlinkCounters, number: int) -> tuple[int | None, ...]:
    return counters.fec_history[number] if number < len(counters.fec_history) else ()


def _grown(samples: Samples) -> int:
    return samples[-1][1] - samples[0][1] if samples else 0


def _finding(gpu: GpuReading, code: str, verdict: Verdict, what: str, links: dict[int, str]) -> Finding:
    named = ", ".join(str(link) for link in sorted(links))
    action = Action.RESET_GPU if verdict is Verdict.FAILED else Action.NONE
    then = "drain and reset the GPU" if verdict is Verdict.FAILED else "watch it, and reset the GPU when it is idle"
    because = f"{len(links)} NVLinks {what} (link {named}) within {WINDOW_S / 60:.0f} min: {then}"
    evidence = {"links": named} | {f"link {link}": links[link] for link in sorted(links)}
    return replace(about(ID, gpu, code, verdict, action, because), evidence=evidence)


FAILED_CODES = ("recovery", "recovery_failed", "errors", "crc", "ber")
DEGRADED_CODES = ("crc", "replay", "effective_errors", "discards", "fec", "retries")

CHECK = LevelCheck(
    id=ID,
    summary="NVLinks that lose, repeat or damage what they carry.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome(UNREADABLE, Verdict.UNKNOWN),
        *(Outcome(code, Verdict.FAILED, Action.RESET_GPU) for code in FAILED_CODES),
        *(Outcome(code, Verdict.FAILED, SHARED_CAUSE.action) for code in FAILED_CODES),
        *(Outcome(code, Verdict.DEGRADED, Action.NONE) for code in DEGRADED_CODES),
        *(Outcome(code, Verdict.DEGRADED, SHARED_CAUSE.action) for code in DEGRADED_CODES),
    ),
    window_s=WINDOW_S,
    policy=Policy(peers=SHARED_CAUSE, because="errors on links of most GPUs at once are the fault of what they share"),
    thresholds={
        "NVLink 1 to 4": (
            f"any recovery failed; CRC errors {CRC_FAILED_PER_S:.0f} a second failed (DCGM); replays and CRC errors "
            f"{WARN_PER_MIN:g} a minute degraded (our choice, after DCGM)"
        ),
        "NVLink 5": (
            "any recovery, failed recovery, symbol error or damaged packet failed (DCGM); effective errors and "
            "discarded packets degraded (our choice)"
        ),
        "bit error rate": f"effective or symbol above {MAX_BER:.0e} failed (DCGM); 15e-255 stands for no error at all",
        "corrected symbols": f"{HIGH_BIN} or more in a block, {WARN_PER_MIN:g} time a minute: degraded (our choice)",
        "retries": f"{RETRY_RATIO:.0e} of the blocks: degraded (our choice)",
        "window": f"{WINDOW_S / 60:.0f} min, from the last reset on (our choice)",
    },
)
