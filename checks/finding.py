"""What a check says: one verdict about one device, with its reason and what to do about it.

A finding is keyed by (check, device, code). Everything above this floor (agent, wire, controller) passes findings on
unchanged, so this file is the vocabulary of the whole system.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How a device is. `unknown` is never ok, never clears a fault, and never by itself causes an action."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"


WORST_FIRST = (Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.OK)
"""A fault that is seen outweighs what could not be seen."""


class Action(StrEnum):
    """What mends it, in the order of the repair ladder: each rung is a stronger intervention than the one before."""

    NONE = "none"
    RESTART_APP = "restart_app"
    RESTART_SERVICE = "restart_service"
    RESET_GPU = "reset_gpu"
    REBOOT = "reboot"
    POWER_CYCLE = "power_cycle"
    UPDATE_SOFTWARE = "update_software"
    CHECK_CABLING = "check_cabling"
    CONTACT_SUPPORT = "contact_support"


@dataclass(frozen=True, slots=True, order=True)
class FindingKey:
    """Identity of a finding on one node; `device` is a GPU UUID, `mlx5_0/1`, a mount point, or `host`."""

    check: str
    device: str
    code: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement.

    Attributes:
        check: id of the check, e.g. `gpu.xid`.
        device: what it is about: GPU UUID (or PCI id while no UUID is known), `mlx5_0/1`, mount point, `host`.
        code: the fault within the check, e.g. `79` or `pending`; empty when the check knows one fault only.
        because: one sentence a person can act on, with the values and limits that led to the verdict.
        pci: PCI address `dddd:bb:dd` in lower case without function, empty when there is none.
        serial: serial number or GUID of the part, empty when unknown, so that history follows the part.
        evidence: raw values worth keeping, as text.
    """

    check: str
    device: str
    code: str
    verdict: Verdict
    action: Action
    because: str
    pci: str = ""
    serial: str = ""
    evidence: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> FindingKey:
        """The identity under which this finding is raised and cleared."""
        return FindingKey(self.check, self.device, self.code)
