"""What counted while a benchmark ran: Xids, memory errors, errors of links. Growth is evidence that needs no limit.

A number says that something is slow; a counter that grew under load says what is broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agent.benches import Looks
from agent.sources.child import Child, ChildEnded, DeadlineMissed, Stuck
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault
from checks.fabric import rdma_flap
from checks.finding import Finding, Verdict
from checks.gpu import xid
from checks.judge import LatchedJudge
from checks.readings import GpuReading, KernelRecord, RdmaPort, RdmaReading

LIMIT_S: Final = 10.0
"""To read every counter of every GPU. Source: our choice, the deadline of the agent's own readings."""

GPU_COUNTERS: Final[Mapping[str, Outcome]] = {
    "ecc_uncorrected_volatile": Outcome.FAIL,
    "sram_uncorrected_volatile": Outcome.FAIL,
    "remapped_uncorrectable": Outcome.FAIL,
    "ecc_corrected_volatile": Outcome.WARN,
    "sram_corrected_volatile": Outcome.WARN,
    "remapped_correctable": Outcome.WARN,
}
"""Source: NVIDIA GPU memory error management; corrected errors are what ECC is for, in small numbers."""

LINK_COUNTERS: Final[Mapping[str, Outcome]] = {
    "recoveries": Outcome.FAIL,
    "recoveries_failed": Outcome.FAIL,
    "integrity_errors": Outcome.FAIL,
    "buffer_overruns": Outcome.FAIL,
    "malformed_packets": Outcome.FAIL,
    "replays": Outcome.WARN,
    "crc_errors": Outcome.WARN,
    "receive_errors": Outcome.WARN,
    "remote_errors": Outcome.WARN,
    "general_errors": Outcome.WARN,
    "transmit_discards": Outcome.WARN,
    "recovery_events": Outcome.WARN,
}
"""Source: the reference of NVML, any growth of which is suspicious; our choice which of it condemns: what broke the
link off or corrupted what crossed it. A replay is a packet that was sent again, and arrived."""

PCIE_COUNTERS: Final[Mapping[str, Outcome]] = {
    "fatal": Outcome.FAIL,
    "non_fatal": Outcome.FAIL,
    "replay_rollovers": Outcome.WARN,
    "bad_tlps": Outcome.WARN,
    "lcrc_errors": Outcome.WARN,
    "lane_errors": Outcome.WARN,
}
"""Source: PCI Express base specification, severities of errors; replays alone are common (DCGM judges their rate)."""

PORT_COUNTERS: Final[Mapping[str, Outcome]] = {"link_downed": Outcome.FAIL, "carrier_downs": Outcome.FAIL}


MOST_FAULTS: Final = 64
"""So many are told. Source: our choice; a host has more than a hundred links, and a message has its bound."""


class NotCounted(Exception):
    """The counters cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Every counter at one moment, and the kernel log up to it."""

    gpus: tuple[GpuReading, ...] = ()
    ports: tuple[RdmaPort, ...] = ()
    kernel_lines: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    """What the process says."""

    gpus: tuple[GpuReading, ...] = ()
    failure: str = ""
    detail: str = ""


async def count(child: Child, looks: Looks) -> Counted:
    """Return the counters as they are now.

    Raises:
        NotCounted: NVML does not tell them.
    """
    try:
        answer = msgspec.json.decode(await child.ask(b"count", deadline_s=LIMIT_S), type=_Answer)
    except (DeadlineMissed, Stuck, ChildEnded, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotCounted(f"NVML cannot be asked: {error}") from error
    if answer.failure:
        raise NotCounted(f"NVML does not answer: {answer.detail or answer.failure}")
    if RdmaReading.SOURCE in looks.last_readings:
        await looks.run_checks((rdma_flap.ID,))
    reading = looks.last_readings.get(RdmaReading.SOURCE)
    ports = reading.ports if isinstance(reading, RdmaReading) else ()
    return Counted(answer.gpus, ports, looks.believed_lines)


def grown(before: Counted, after: Counted) -> tuple[BenchFault, ...]:
    """Return what happened in between, as faults, the worst first. A counter that went down began anew, and tells
    nothing."""
    found = (
        *_xids(new_lines(before.kernel_lines, after.kernel_lines)),
        *_of_gpus(before.gpus, after.gpus),
        *_of_ports(before.ports, after.ports),
    )
    return tuple(sorted(found, key=lambda fault: fault.severity is not Outcome.FAIL)[:MOST_FAULTS])


def new_lines(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """Return the lines that came to the end of a log of which only the last ones are kept."""
    for fresh in range(len(after) + 1):
        kept = after[: len(after) - fresh]
        if len(kept) <= len(before) and tuple(before[len(before) - len(kept) :]) == tuple(kept):
            return tuple(after[len(after) - fresh :])
    return tuple(after)


def _xids(lines: Sequence[str]) -> Iterator[BenchFault]:
    judge = LatchedJudge((xid.CHECK,))
    for number, text in enumerate(lines):
        for finding in judge.feed(KernelRecord(float(number), text, 0, 3, number)):
            if finding.verdict in _OF_VERDICT:
                yield _xid(finding)


def _xid(finding: Finding) -> BenchFault:
    because = f"the kernel reported Xid {finding.code} while it ran: {finding.because}"
    return BenchFault("xid", because, finding.device or finding.pci, _OF_VERDICT[finding.verdict])


_OF_VERDICT: Final = {Verdict.FAILED: Outcome.FAIL, Verdict.DEGRADED: Outcome.WARN}


def _of_gpus(before: Sequence[GpuReading], after: Sequence[GpuReading]) -> Iterator[BenchFault]:
    known = {gpu.uuid: gpu for gpu in after}
    for old in before:
        new = known.get(old.uuid)
        if new is None or new.lost:
            yield BenchFault("gpu_lost", f"{old.uuid} does not answer any more since it ran", old.uuid)
            continue
        yield from _grown(old.uuid, _memory(old), _memory(new), GPU_COUNTERS)
        yield from _grown(old.uuid, old.details.pcie_errors, new.details.pcie_errors, PCIE_COUNTERS, "PCIe ")
        yield from _of_links(old, new)


def _of_links(old: GpuReading, new: GpuReading) -> Iterator[BenchFault]:
    if old.nvlink is None or new.nvlink is None or not old.nvlink.counters or not new.nvlink.counters:
        return
    for name, severity in LINK_COUNTERS.items():
        pairs = zip(getattr(old.nvlink.counters, name), getattr(new.nvlink.counters, name), strict=False)
        for link, (was, now) in enumerate(pairs):
            yield from _grown(old.uuid, {name: was}, {name: now}, {name: severity}, f"NVLink {link} ")


def _of_ports(before: Sequence[RdmaPort], after: Sequence[RdmaPort]) -> Iterator[BenchFault]:
    known = {port.name: port for port in after}
    for old in before:
        new = known.get(old.name)
        if new is None:
            yield BenchFault("port_lost", f"the port {old.name} is not there any more since it ran", old.name)
            continue
        yield from _grown(old.name, _told(old, PORT_COUNTERS), _told(new, PORT_COUNTERS), PORT_COUNTERS)


def _grown(
    device: str,
    before: Mapping[str, int | None],
    after: Mapping[str, int | None],
    severities: Mapping[str, Outcome],
    where: str = "",
) -> Iterator[BenchFault]:
    for name, severity in severities.items():
        was, now = before.get(name), after.get(name)
        if was is not None and now is not None and now > was:
            because = f"{where}{name} of {device} grew from {was} to {now} while it ran"
            yield BenchFault("counter", because, device, severity)


def _memory(gpu: GpuReading) -> Mapping[str, int | None]:
    return _told(gpu, GPU_COUNTERS)


def _told(reading: Any, names: Mapping[str, Outcome]) -> dict[str, int | None]:
    return {name: getattr(reading, name) for name in names}
