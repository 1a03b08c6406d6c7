"""What others say of a Kubernetes node, in conditions, labels and taints, as findings. Pure.

Problem detectors of clouds, of NVIDIA and of IBM watch the same nodes and write what they see onto them. It is taken as
a fact: nothing is done about it unless a playbook of the site answers it (`check: k8s.condition`, the name of the
condition, label or taint as the code). What nobody listed here is not guessed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from checks.finding import Action, Finding, Verdict

CHECK: Final = "k8s.condition"
BAD, GOOD = "True", "False"
"""Source: Kubernetes API, NodeCondition.status; the third is `Unknown`."""

MAX_BECAUSE = 500
"""Source: our choice; a condition's message may have 32 KiB."""

KUBELET = "the kubelet"
NPD = "node-problem-detector"
AKS = "the problem detector of AKS"
EKS = "the node monitoring agent of EKS"
NVSENTINEL = "NVSentinel"
AUTOPILOT = "Autopilot"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who writes some conditions.

    Attributes:
        failed, degraded: types of conditions, by what they mean when they say that something is wrong.
        wrong: the status by which they say so.
    """

    name: str
    source: str
    failed: frozenset[str] = frozenset()
    degraded: frozenset[str] = frozenset()
    wrong: str = BAD

    def judge(self, condition: Condition) -> Verdict:
        """Return what a condition means."""
        if condition.status not in {BAD, GOOD}:
            return Verdict.UNKNOWN
        if condition.status != self.wrong:
            return Verdict.OK
        return Verdict.FAILED if condition.type in self.failed else Verdict.DEGRADED


class Condition(msgspec.Struct, frozen=True):
    """One condition of a node, as its writer wrote it."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""


SPEAKERS: Final = (
    Speaker(
        KUBELET,
        'Kubernetes, "Node Status". Ready is not here: it is whether the kubelet answers',
        failed=frozenset({"NetworkUnavailable"}),
        degraded=frozenset({"MemoryPressure", "DiskPressure", "PIDPressure"}),
    ),
    Speaker(
        NPD,
        "node-problem-detector, the files below config/: permanent problems alone become conditions",
        failed=frozenset(
            {
                *("KernelDeadlock", "ReadonlyFilesystem", "XfsShutdown", "CorruptDockerOverlay2"),
                *("KubeletUnhealthy", "ContainerRuntimeUnhealthy"),
            }
        ),
        degraded=frozenset(
            {
                *("FrequentKubeletRestart", "FrequentContainerdRestart", "FrequentDockerRestart"),
                *("FrequentUnregisterNetDevice", "NTPProblem"),
            }
        ),
    ),
    Speaker(
        AKS,
        'Azure, "Node Problem Detector in AKS nodes". XIDErrors names no Xid, and most of them need no repair',
        failed=frozenset(
            {
                *("FilesystemCorruptionProblem", "KubeletProblem", "ContainerRuntimeProblem"),
                *("GPUMissing", "NVLinkStatusInactive"),
            }
        ),
        degraded=frozenset({"XIDErrors", "IBLinkFlapping", "UnhealthyNvidiaDevicePlugin", "VMEventScheduled"}),
    ),
    Speaker(
        EKS,
        'Amazon EKS, "Detect node health issues": a condition for each kind, told as Ready is',
        failed=frozenset(
            {
                *("AcceleratedHardwareReady", "ContainerRuntimeReady", "KernelReady"),
                *("NetworkingReady", "StorageReady"),
            }
        ),
        wrong=GOOD,
    ),
    Speaker(
        NVSENTINEL,
        'NVSentinel, "Integration Guide": fatal errors alone become conditions',
        failed=frozenset(
            {
                *("GpuMemWatch", "GpuThermalWatch", "GpuPcieWatch", "GpuPowerWatch", "GpuInforomWatch", "GpuSmWatch"),
                *("GpuNvlinkWatch", "GpuMcuWatch", "GpuPmuWatch", "GpuDriverWatch", "GpuCpusetWatch"),
                *("SysLogsXIDError", "SysLogsSXIDError", "SysLogsGPUFallenOff", "NVSwitchFatalError", "NVSwitchDown"),
            }
        ),
        degraded=frozenset({"NVSwitchNonFatalError", "DCGMError", "CSPMaintenance", "SyslogError"}),
    ),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A label or a taint whose value says how a node is.

    Attributes:
        verdicts: value → what it means; `ok` is no finding, and a value that is not here is `unknown`.
    """

    speaker: str
    verdicts: Mapping[str, Verdict]
    source: str


_D, _F = Verdict.DEGRADED, Verdict.FAILED
_STATES = ("quarantined", "draining", "drain-succeeded", "drain-failed", "remediating", "remediation-succeeded")
_FLAG = {"true": _F, "fatal": _F, "degraded": _D, "": _F}

MARKS: Final[Mapping[str, Mark]] = {
    "autopilot.ibm.com/gpuhealth": Mark(
        AUTOPILOT,
        {"PASS": Verdict.OK, "TESTING": Verdict.OK, "WARN": _D, "ERR": _F, "EVICT": _F},
        'IBM Autopilot, README, "Deep Diagnostics and Node Labeling"; CodeFlare\'s AppWrapper puts it into taints, too',
    ),
    "dgxc.nvidia.com/nvsentinel-state": Mark(
        NVSENTINEL,
        dict.fromkeys((*_STATES, "remediation-failed"), _F),
        "NVSentinel, package statemanager: a healthy node has no such label",
    ),
    **{
        f"nvidia.com/{name}": Mark(NVSENTINEL, _FLAG, 'NVSentinel, "Integration Guide", its examples of taints')
        for name in ("gpu-xid-error", "gpu-nvlink-error", "syslog-xid-error", "gpu-error")
    },
}

_CONDITIONS: Final = {kind: speaker for speaker in SPEAKERS for kind in speaker.failed | speaker.degraded}
_RANK: Final = {Verdict.UNKNOWN: 1, Verdict.DEGRADED: 2, Verdict.FAILED: 3}


def said(
    conditions: Iterable[Condition], labels: Mapping[str, str], taints: Iterable[tuple[str, str]] = ()
) -> tuple[Finding, ...]:
    """Return what others find wrong with a node, or cannot say, in the order of the names.

    Args:
        taints: key and value of each.
    """
    found: dict[str, Finding] = {}
    for finding in (*_of_conditions(conditions), *_of_marks(labels.items()), *_of_marks(taints)):
        before = found.get(finding.code)
        if before is None or _RANK[finding.verdict] > _RANK[before.verdict]:
            found[finding.code] = finding
    return tuple(found[code] for code in sorted(found))


def _of_conditions(conditions: Iterable[Condition]) -> Iterator[Finding]:
    for condition in conditions:
        speaker = _CONDITIONS.get(condition.type)
        if speaker is None:
            continue
        verdict = speaker.judge(condition)
        if verdict is not Verdict.OK:
            words = ", ".join(filter(None, (condition.reason, condition.message)))
            yield _finding(condition.type, verdict, f"{speaker.name} says {condition.type}={condition.status}: {words}")


def _of_marks(marks: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    for name, value in marks:
        mark = MARKS.get(name)
        verdict = mark.verdicts.get(value, Verdict.UNKNOWN) if mark is not None else Verdict.OK
        if mark is not None and verdict is not Verdict.OK:
            yield _finding(name, verdict, f"{mark.speaker} marked the node {name}={value}.")


def _finding(name: str, verdict: Verdict, because: str) -> Finding:
    """Return a finding that is about itself alone, so that it joins no incident of a part that it does not name."""
    return Finding(CHECK, name, name, verdict, Action.NONE, because.removesuffix(": ")[:MAX_BECAUSE])
