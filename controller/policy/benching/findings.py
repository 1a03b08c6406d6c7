"""The findings of failed benchmarks: which device, which code, what mends it; and which of them a pass clears. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from checks.bench_nvls import EXPLAINED, EXPLAINING
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark
from checks.finding import Action, Finding, FindingKey, Verdict
from controller.bench_events import BenchJudged, JudgedNumber
from controller.policy.belief import Belief
from controller.policy.node_belief import NodeBelief
from controller.policy.parts import seats

ORIGIN = "bench"
FAMILY = "bench"
WHOLE_NODE = "node"
UNNAMED = "failed"
"""Code of a failure that neither a number nor a fault says more about."""
WRONG_RESULT = "wrong_result"
GROUP_SLOW = "group_slow"
"""Code of a node that slows the groups in which it is: what it does by itself does not take that back, a sweep does."""
TIER = "tier"
"""What a finding's evidence calls the tier of the run that failed."""

BY_PEOPLE = frozenset({"operator", "verify"})
"""Purposes of runs that may clear wrong results: no screening that fleetmend begins by itself takes such a finding
back, since diagnostics find but seven of ten such GPUs (fault model F16)."""

_ACTIONS: Mapping[str, Action] = {
    Benchmark.NCCL_ALL_REDUCE: Action.RESET_GPU,
    Benchmark.GPU_BANDWIDTH: Action.RESET_GPU,
    Benchmark.GEMM: Action.RESET_GPU,
    Benchmark.RDMA: Action.CHECK_CABLING,
    Benchmark.STORAGE: Action.CONTACT_SUPPORT,
    Benchmark.DCGM: Action.CONTACT_SUPPORT,
}
"""What is tried first for a benchmark that fails. Source: the fault model, F6 (NVLink), F10 (RDMA)."""

_OF_METRICS: Mapping[str, Action] = {
    "adapter_loopback": Action.CHECK_CABLING,
    "host_to_device": Action.REBOOT,
    "device_to_host": Action.REBOOT,
}
"""Metrics that speak of another part than the benchmark's usual one. Source: the fault model, F7 (PCIe trains anew at a
reboot) and F10."""


_DCGM_RESETS = frozenset(
    {
        "dbe_pending_page_retirements",
        "pending_page_retirements",
        "pending_row_remap",
        "uncorrectable_row_remap",
    }
)
_DCGM_TRIAGES = frozenset(
    {
        "gflops_threshold_violation",
        "gpu_expected_nvlinks_up",
        "high_latency",
        "low_bandwidth",
        "memory_bandwidth",
        "nvlink_down",
        "pcie_generation",
        "stress_level",
        "target_power",
        "xid_error",
    }
)
"""Errors of DCGM that a reset mends, and those that it wants tested more deeply; any other failure is for people.
Source: DCGM 4.2, dcgmlib/src/dcgm_errors.c, severities RESET and TRIAGE of what is no software of its own. A remap that
failed is not among them: it is a GPU to be sent back. An InfoROM that is corrupt is mended by no reboot."""


def check_of(benchmark: str) -> str:
    """Return the check of a benchmark's findings."""
    return f"{FAMILY}.{benchmark}"


def failing(benchmark: str, numbers: Iterable[JudgedNumber], faults: Iterable[BenchFault]) -> list[FindingKey]:
    """Return the keys of everything that failed, sorted."""
    check = check_of(benchmark)
    failed = [each for each in numbers if each.outcome == Outcome.FAIL]
    keys = {FindingKey(check, fault.device or WHOLE_NODE, fault.code) for fault in faults}
    for metric in {each.number.metric for each in failed}:
        devices = [each.number.device for each in failed if each.number.metric == metric]
        keys |= {FindingKey(check, device or WHOLE_NODE, metric) for device in blamed(devices)}
    return sorted(keys)


def blamed(devices: Iterable[str]) -> set[str]:
    """Return who is to blame when these failed: the fewest devices that explain every way between two.

    A way that no other one shares a device with is named itself, as `a>b`.
    """
    single = {device for device in devices if ">" not in device}
    ways = {device for device in devices if ">" in device and single.isdisjoint(device.split(">"))}
    counts = Counter(end for way in ways for end in set(way.split(">")))
    while ways:
        device, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        if count < 2:
            break
        single.add(device)
        explained = {way for way in ways if device in way.split(">")}
        counts.subtract(end for way in explained for end in set(way.split(">")))
        ways -= explained
    return single | ways


def finding_of(key: FindingKey, judged: BenchJudged, node: NodeBelief) -> Finding:
    """Return the finding of one failing key of a result."""
    reasons = [fault.because for fault in judged.faults if _is_fault(fault, key)]
    numbers = [each for each in judged.numbers if _is_number(each, key)]
    reasons += [each.because for each in numbers]
    evidence = {TIER: str(judged.tier), "run": judged.run_id, "lease": judged.lease_id}
    for each in numbers[:1]:
        evidence |= {**each.inputs, **_samples(each)}
    if key.code in EXPLAINED:
        evidence |= {fault.code: fault.because for fault in judged.faults if fault.code in EXPLAINING}
    seat = next((seat for seat in seats(node.facts) if key.device in {seat.device, seat.place}), None)
    return Finding(
        key.check,
        key.device,
        key.code,
        Verdict.FAILED,
        action_for(judged.benchmark, key.code),
        reasons[0] if reasons else judged.because,
        pci=seat.place if seat is not None and seat.place != seat.device else "",
        serial=seat.serial if seat is not None else "",
        evidence=evidence,
    )


def action_for(benchmark: str, code: str) -> Action:
    """Return what mends it."""
    if code == WRONG_RESULT:
        return Action.CONTACT_SUPPORT
    if benchmark == Benchmark.DCGM:
        return _of_dcgm(code)
    return _OF_METRICS.get(code, _ACTIONS.get(benchmark, Action.CONTACT_SUPPORT))


def _of_dcgm(code: str) -> Action:
    if code in _DCGM_RESETS:
        return Action.RESET_GPU
    return Action.REBOOT if code in _DCGM_TRIAGES else Action.CONTACT_SUPPORT


def _samples(each: JudgedNumber) -> dict[str, str]:
    number = each.number
    named = {"size_bytes": number.size_bytes, "p50_s": number.p50_s, "p99_s": number.p99_s, "samples": number.samples}
    told = {name: f"{value:g}" for name, value in {**named, "variation": number.variation}.items() if value}
    return {**told, "way": number.way} if number.way else told


def _is_fault(fault: BenchFault, key: FindingKey) -> bool:
    return fault.severity is Outcome.FAIL and (fault.device or WHOLE_NODE, fault.code) == (key.device, key.code)


def _is_number(each: JudgedNumber, key: FindingKey) -> bool:
    ends = {each.number.device or WHOLE_NODE, *each.number.device.split(">")}
    return each.outcome == Outcome.FAIL and each.number.metric == key.code and key.device in ends


def cleared_by(belief: Belief, judged: BenchJudged) -> Iterator[FindingKey]:
    """Yield the findings of the node that a pass takes back: those of the same benchmark, as deep a look, and measured.

    Wrong results are taken back by a run that a person asked for, or that verifies a repair, and by no other.
    """
    node = belief.nodes.get(judged.node)
    if node is None or judged.outcome != Outcome.PASS:
        return
    run = belief.bench.runs.get(judged.run_id)
    purpose = run.purpose if run is not None else ""
    measured = {end for each in judged.numbers for end in (each.number.device, *each.number.device.split(">"))} - {""}
    for key, raised in list(node.findings.items()):
        if key.check != check_of(judged.benchmark) or raised.origin != ORIGIN or key.code == GROUP_SLOW:
            continue
        shallow = judged.tier < int(raised.finding.evidence.get(TIER, "0"))
        unseen = bool(measured) and key.device in node.facts.devices and key.device not in measured
        green = key.code == WRONG_RESULT and purpose not in BY_PEOPLE
        if not (shallow or unseen or green):
            yield key
