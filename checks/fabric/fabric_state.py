"""`fabric.fabric_state`: GPUs that the NVLink fabric has not taken in, or that say the fabric is unwell.

On a host with NVSwitches each GPU registers with the fabric after every boot and every reset, and Fabric Manager has to
answer. Until it did, CUDA refuses to start (error 802) while everything else looks well: a host whose Fabric Manager is
down shows it here at last. A GPU without a fabric says so, and is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import UNREADABLE, about, judgeable, unreadable
from checks.policy import EVERYWHERE, PeerRule, Policy
from checks.readings import FabricReading, GpuReading, NvmlReading

ID = "fabric.fabric_state"
NOT_SUPPORTED, NOT_STARTED, IN_PROGRESS, COMPLETED = range(4)
"""Source: nvml.h, NVML_GPU_FABRIC_STATE_*."""

BOOT_GRACE_S = 300.0
"""Source: our choice: Fabric Manager trains the links of eight GPUs in about a minute after the driver is loaded."""

READINGS = 12
"""Source: our choice: a minute at the fast interval, in which a GPU that was reset has registered again."""

TRUE, FALSE = 1, 2
"""Of each pair of bits of the mask; 0 where it is not supported. Source: nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_*."""

NO_WRONG_CONFIGURATION = (0, 1)
"""Not supported, and none. Source: nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_*."""

CONFIGURATIONS = {
    2: ("the system GUID is wrong", Action.CONTACT_SUPPORT),
    3: ("the serial number of the chassis is wrong", Action.CONTACT_SUPPORT),
    4: ("the GPU is in no partition", Action.CONTACT_SUPPORT),
    5: ("there are not enough NVLinks", Action.RESET_GPU),
    6: ("the GPU's firmware does not fit", Action.CONTACT_SUPPORT),
    7: ("the GPU's location is not valid", Action.CONTACT_SUPPORT),
    8: ("the GPU's state is not valid", Action.RESET_GPU),
}
"""What is wrong, and what mends it. Source: nvml.h; the actions are our choice: a reset trains links and state anew,
and what is configured outside of the GPU stays as it is."""

NO_CLUSTER = "0" * 32
"""Of a GPU that shares no memory with other hosts. Source: NVML API reference, nvmlGpuFabricInfoV_t."""

HEALTHY_SUMMARIES = (None, 0, 1)
"""Not told, not supported, and healthy. Source: nvml.h, NVML_GPU_FABRIC_HEALTH_SUMMARY_*."""

UNHEALTHY, LIMITED_CAPACITY = 2, 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a GPU's place in the fabric."""

    code: str
    verdict: Verdict
    action: Action
    what: str


@dataclass(frozen=True, slots=True)
class Bits:
    """Two bits of the health mask, and the fault they stand for when they hold `bad`."""

    shift: int
    bad: int
    fault: Fault


BITS = (
    Bits(0, TRUE, Fault("bandwidth", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "the fabric has lost bandwidth")),
    Bits(2, TRUE, Fault("recovering", Verdict.DEGRADED, Action.NONE, "routes are being recovered")),
    Bits(4, TRUE, Fault("route", Verdict.FAILED, Action.RESET_GPU, "a route of the GPU is unhealthy")),
    Bits(6, TRUE, Fault("recovering", Verdict.DEGRADED, Action.NONE, "it recovers from an access that timed out")),
    Bits(14, FALSE, Fault("manager_lost", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "the global manager is cut off")),
)
"""Source: nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_*. Whether a partition is assigned (bits 12 and 13) is no fault of
the host: it may be meant to have none."""

SHARED_CAUSE = PeerRule(
    action=Action.RESTART_SERVICE,
    because="what the GPUs share is Fabric Manager: restart it, and reboot the host when that does not help",
)


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU that the fabric has not taken in or that says the fabric is unwell, and what does not agree."""
    gpus = judgeable(readings[-1])
    found = [finding for gpu in gpus for finding in _judge_gpu(gpu)]
    return (*found, *_disagreements(gpus))


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "fabric")
    if gpu.fabric is None or gpu.fabric.state == NOT_SUPPORTED:
        return
    faults = {fault.code: fault for fault in reversed(list(_faults(gpu.fabric)))}
    for fault in reversed(faults.values()):
        yield _finding(gpu, gpu.fabric, fault)


def _faults(fabric: FabricReading) -> Iterator[Fault]:
    if fabric.state in (NOT_STARTED, IN_PROGRESS):
        said = "has not started" if fabric.state == NOT_STARTED else "is still in progress"
        yield Fault("not_registered", Verdict.FAILED, Action.RESET_GPU, f"its registration {said}")
        return
    if fabric.state != COMPLETED:
        yield Fault(UNREADABLE, Verdict.UNKNOWN, Action.NONE, f"no state of registration is numbered {fabric.state}")
        return
    if fabric.status:
        what = f"its registration ended with error {fabric.status}"
        yield Fault("registration_failed", Verdict.FAILED, Action.RESET_GPU, what)
    yield from _health(fabric)


def _health(fabric: FabricReading) -> Iterator[Fault]:
    """Yield what the mask says, and the summary where that alone tells of a fault."""
    said = [bits.fault for bits in BITS if fabric.health_mask >> bits.shift & 3 == bits.bad]
    configuration = fabric.health_mask >> 8 & 0xF
    if configuration not in NO_WRONG_CONFIGURATION:
        what, action = CONFIGURATIONS.get(configuration, (f"fault {configuration}", Action.CONTACT_SUPPORT))
        said.append(Fault("configuration", Verdict.FAILED, action, f"it is wrongly configured: {what}"))
    yield from said
    is_failed = any(fault.verdict is Verdict.FAILED for fault in said)
    if fabric.health_summary == UNHEALTHY and not is_failed:
        yield Fault("unhealthy", Verdict.FAILED, Action.RESET_GPU, "the driver calls its place there unhealthy")
    elif fabric.health_summary == LIMITED_CAPACITY and not said:
        yield Fault("capacity", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "the fabric has limited capacity")


def _finding(gpu: GpuReading, fabric: FabricReading, fault: Fault) -> Finding:
    because = f"the NVLink fabric and GPU {gpu.index}: {fault.what}"
    evidence = {
        "state": str(fabric.state),
        "status": str(fabric.status),
        "health_mask": f"{fabric.health_mask:#x}",
        "cluster": f"{fabric.cluster_uuid}/{fabric.clique_id}",
    }
    return replace(about(ID, gpu, fault.code, fault.verdict, fault.action, because), evidence=evidence)


def _disagreements(gpus: Sequence[GpuReading]) -> Iterator[Finding]:
    """Yield what the GPUs of one host should share and do not."""
    in_fabric = [gpu for gpu in gpus if gpu.fabric is not None and gpu.fabric.state == COMPLETED]
    clusters = _by(in_fabric, lambda fabric: fabric.cluster_uuid or NO_CLUSTER)
    if len(clusters) > 1:
        yield _disagreement("clusters", Verdict.FAILED, "clusters", clusters)
        return
    cliques = _by(in_fabric, lambda fabric: str(fabric.clique_id))
    if len(cliques) > 1:
        yield _disagreement("cliques", Verdict.DEGRADED, "cliques", cliques)


def _by(gpus: Sequence[GpuReading], name: Callable[[FabricReading], str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for gpu in gpus:
        if gpu.fabric is not None:
            found.setdefault(name(gpu.fabric), []).append(gpu.index)
    return found


def _disagreement(code: str, verdict: Verdict, what: str, groups: dict[str, list[int]]) -> Finding:
    said = "; ".join(f"{name}: GPU {', '.join(map(str, sorted(members)))}" for name, members in sorted(groups.items()))
    because = (
        f"the GPUs of this host are in different {what} of the NVLink fabric ({said}): is that what is configured?"
    )
    return Finding(ID, EVERYWHERE, code, verdict, Action.CONTACT_SUPPORT, because, evidence=dict.fromkeys([what], said))


OWN_OUTCOMES = (
    Outcome("not_registered", Verdict.FAILED, Action.RESET_GPU),
    Outcome("registration_failed", Verdict.FAILED, Action.RESET_GPU),
    Outcome("route", Verdict.FAILED, Action.RESET_GPU),
    Outcome("configuration", Verdict.FAILED, Action.RESET_GPU),
    Outcome("configuration", Verdict.FAILED, Action.CONTACT_SUPPORT),
    Outcome("unhealthy", Verdict.FAILED, Action.RESET_GPU),
    Outcome("bandwidth", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    Outcome("recovering", Verdict.DEGRADED, Action.NONE),
    Outcome("manager_lost", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    Outcome("capacity", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
)

CHECK = LevelCheck(
    id=ID,
    summary="GPUs that the NVLink fabric has not taken in, or that say it is unwell.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome(UNREADABLE, Verdict.UNKNOWN),
        *OWN_OUTCOMES,
        *dict.fromkeys(Outcome(each.code, each.verdict, SHARED_CAUSE.action) for each in OWN_OUTCOMES),
        Outcome("clusters", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("cliques", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    policy=Policy(
        raise_after=READINGS,
        boot_grace_s=BOOT_GRACE_S,
        peers=SHARED_CAUSE,
        because=(
            "Fabric Manager starts after the driver and trains links for a minute; a GPU that was reset registers "
            "anew; what most GPUs show at once is the fault of Fabric Manager"
        ),
    ),
    thresholds={
        "registration": "completed, without error (NVIDIA: CUDA answers 802 until then)",
        "grace": f"{BOOT_GRACE_S:.0f} s from the boot on (our choice)",
        "readings": f"{READINGS} in a row: a minute at the fast interval (our choice)",
        "shared cause": f"more than half of the GPUs, at least {SHARED_CAUSE.minimum} (our choice)",
    },
)
