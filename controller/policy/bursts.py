"""What belongs together: which faults of one part are one incident, and which are told by others in sympathy.

One fault says itself in many ways within seconds. Which ways are known is data here, each with its reason; two classes
that no rule names are two incidents, even on one device.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.policy.incident import Incident, Phase
from controller.policy.playbook import Playbook

SILENCE_S = 180.0
"""A burst goes on until so much time passed without a finding of it. Source: NVIDIA Fleet Intelligence groups a node's
Xids until three minutes of silence; nearly all of a burst comes within 5 s (Delta study)."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Fault classes that one fault of one part may show as; the playbook of lowest precedence answers for all."""

    name: str
    fault_classes: frozenset[str]
    because: str
    source: str


@dataclass(frozen=True, slots=True)
class Sympathy:
    """Fault classes that other parts of the same node show because of a root elsewhere in it."""

    followers: frozenset[str]
    roots: frozenset[str]
    because: str
    source: str


BURSTS = (
    Burst(
        "gpu",
        frozenset(
            {
                *("gpu_lost", "gpu_power", "gpu_security", "gpu_reboot", "gpu_memory", "gpu_imex", "gpu_reset"),
                *("gpu_thermal", "gpu_pcie", "gpu_driver", "gpu_support"),
                *("nvlink", "nvlink_watch", "fabric_manager"),
            }
        ),
        "Xid 48 with 63 or 64, 94 and 45 is one memory error told four times, and a GPU that is lost takes its NVLinks "
        "and its firmware's answers with it",
        "NVIDIA Xid catalogue; NVSentinel and NVIDIA Fleet Intelligence group Xids in the same way",
    ),
    Burst(
        "rdma",
        frozenset(["rdma_adapter", "rdma_port", "rdma_link", "rdma_flap", "rdma_pcie", "rdma_configuration"]),
        "an adapter that fails takes its port down, and a bad cable shows as errors, as flaps and as a slow port",
        "our choice: all of these are read off one adapter, and one repair answers them",
    ),
    Burst(
        "npu",
        frozenset({"npu", "npu_network"}),
        "an NPU that hangs loses its network port too",
        "our choice: both are read off one NPU",
    ),
    Burst(
        "disk",
        frozenset({"storage_disk", "host_disk"}),
        "a disk that dies is read-only, full of errors and failing its self-test at once",
        "our choice: all of these are read off one disk",
    ),
    Burst(
        "presence",
        frozenset({"agent_lost", "node_lost"}),
        "a node that is lost is silent first, and the scheduler says later that it does not answer either",
        "our choice: both are one silence",
    ),
    Burst(
        "host",
        frozenset({"host_reboot", "host_hardware"}),
        "a machine check is followed by the hang or the oops that it causes",
        "kernel, Documentation/admin-guide/RAS: a machine check may end in a panic",
    ),
)

SYMPATHIES = (
    Sympathy(
        frozenset({"nvlink", "nvlink_watch"}),
        frozenset({"gpu_lost", "gpu_reboot", "nvswitch", "fabric_manager"}),
        "NVLink has two ends: when a GPU or a switch goes, its peers report their links to it",
        "NVIDIA Xid catalogue: some bits of Xid 74 and most link-down rows of Xid 149 tell of the peer",
    ),
)


def same_burst(one: str, other: str) -> Burst | None:
    """Return the burst that two fault classes are of, `None` when they have nothing to do with each other."""
    return next((burst for burst in BURSTS if {one, other} <= burst.fault_classes), None)


def belongs(incident: Incident, playbook: Playbook | None, since: float) -> str:
    """Return why a finding about the incident's part belongs to it, empty when it does not.

    Args:
        playbook: who would answer the finding by itself, `None` when nobody does.
        since: when it was raised, on the controller's clock.
    """
    if playbook is None:
        return "it came with the same burst" if is_fresh(incident, since) else ""
    if playbook.fault_class == incident.fault_class:
        return "it is the same fault of the same part"
    burst = same_burst(incident.fault_class, playbook.fault_class)
    if burst is None:
        return ""
    if incident.phase is Phase.AUTOMATIC and not incident.repair_begun:
        return f"no repair of this part has begun, and {burst.because}"
    if incident.phase is Phase.HAND_OVER:
        return f"people have this part already, and {burst.because}"
    return f"it came with the same burst: {burst.because}" if is_fresh(incident, since) else ""


def follows(incident: Incident, playbook: Playbook | None, since: float) -> str:
    """Return why a finding about another part of the incident's node is told in sympathy, empty when it is not."""
    if playbook is None or not is_fresh(incident, since):
        return ""
    rules = (s for s in SYMPATHIES if playbook.fault_class in s.followers and incident.fault_class in s.roots)
    return next((rule.because for rule in rules), "")


def is_fresh(incident: Incident, since: float) -> bool:
    """Return whether the incident's burst still went on then."""
    return abs(since - incident.last_finding_at) <= SILENCE_S
