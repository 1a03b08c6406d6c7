"""What attributes are called. Where OpenTelemetry has a name it is used; what is ours begins with `fleetmend.`.

Source: OpenTelemetry semantic conventions 1.44: attribute registry (host, hardware, k8s, messaging, error, service) and
"Semantic conventions for messaging spans". Those of hardware and messaging are not declared stable there.
"""

from __future__ import annotations

from typing import Final

from checks.finding import Finding
from controller.tracing.span import Value

HOST_NAME: Final = "host.name"
K8S_NODE_NAME: Final = "k8s.node.name"
HW_ID: Final = "hw.id"
HW_TYPE: Final = "hw.type"
HW_SERIAL_NUMBER: Final = "hw.serial_number"
ERROR_TYPE: Final = "error.type"
PEER: Final = "service.peer.name"
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_DESTINATION_TEMPLATE: Final = "messaging.destination.template"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_CONVERSATION_ID: Final = "messaging.message.conversation_id"

CELL: Final = "fleetmend.cell"
INCIDENT: Final = "fleetmend.incident.id"
FAULT_CLASS: Final = "fleetmend.fault_class"
PLAYBOOK: Final = "fleetmend.playbook"
MODE: Final = "fleetmend.mode"
OUTCOME: Final = "fleetmend.outcome"
BECAUSE: Final = "fleetmend.because"
CHECK: Final = "fleetmend.check"
CODE: Final = "fleetmend.code"
VERDICT: Final = "fleetmend.verdict"
PHASE: Final = "fleetmend.phase"
STEP: Final = "fleetmend.step"
VERB: Final = "fleetmend.verb"
ATTEMPT: Final = "fleetmend.attempt"
FAILURES: Final = "fleetmend.failures"
TERM: Final = "fleetmend.term"
CLOCK_SHIFT_S: Final = "fleetmend.clock_shift_s"
"""By how much the times of a node were moved, whose clock is ahead of the controller's or behind it."""

_HARDWARE: Final = (
    ("gpu.", "gpu"),
    ("amd.", "gpu"),
    ("fabric.rdma_", "network"),
    ("storage.nvme", "physical_disk"),
    ("storage.smart", "physical_disk"),
    ("host.memory", "memory"),
    ("host.cpu", "cpu"),
)
"""What kind of part a check is about, where the conventions have a word for it (`hw.type`)."""


def hardware(finding: Finding) -> dict[str, Value]:
    """Return what a finding is about."""
    found: dict[str, Value] = {HW_ID: finding.device}
    kind = next((kind for begin, kind in _HARDWARE if finding.check.startswith(begin)), "")
    if kind:
        found[HW_TYPE] = kind
    if finding.serial:
        found[HW_SERIAL_NUMBER] = finding.serial
    return found | {CHECK: finding.check, CODE: finding.code, VERDICT: str(finding.verdict)}
