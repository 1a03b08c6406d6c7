"""What checks over the kernel log have in common: how a line is judged, what to do, and when it is over.

A line cannot un-happen. A fault that needs a reset or a reboot is over when that was done and the device is seen to be
well afterwards; silence ends only what needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checks.check import Recovery
from checks.finding import Action, Finding, Verdict
from checks.readings import GpuReading

QUIET_S = 600.0
"""How long a fault that needs no repair must not come again. Source: our choice, above the 3 min in which NVIDIA Fleet
Intelligence joins one burst of Xids and above the kernel's own repeat of 2 min (kernel.hung_task_timeout_secs)."""

ADVICE = {
    Action.NONE: "nothing has to be done at once",
    Action.RESTART_APP: "the job has to be restarted",
    Action.RESTART_SERVICE: "the service has to be restarted",
    Action.RESET_GPU: "drain and reset the GPU",
    Action.REBOOT: "drain and reboot the host",
    Action.POWER_CYCLE: "drain and power-cycle the host",
    Action.UPDATE_SOFTWARE: "the software has to be updated",
    Action.CHECK_CABLING: "check connectors and cables",
    Action.CONTACT_SUPPORT: "collect logs and contact the vendor's support",
}
"""What to do, as the end of a sentence."""

NEEDS_RESET = frozenset({Action.RESET_GPU, Action.UPDATE_SOFTWARE})
"""Over after a reset, a reload of the driver, or a reboot."""

NEEDS_REBOOT = frozenset({Action.REBOOT, Action.POWER_CYCLE, Action.CHECK_CABLING, Action.CONTACT_SUPPORT})
"""Over after a reboot only. Hands inside the machine are not seen by software, the reboot after them is."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one line means, before it is tied to a device. `reason` is empty when there is nothing to add."""

    verdict: Verdict
    action: Action
    reason: str = ""
    evidence: dict[str, str] = field(default_factory=dict)


def is_healthy(gpu: GpuReading) -> bool:
    """Return whether a reading shows a GPU of which the driver demands nothing."""
    return not gpu.lost and not gpu.reset_required and gpu.recovery_action in (None, 0)


def repaired(finding: Finding, recovery: Recovery) -> str:
    """Return what was done that mends the finding, empty while it was not: a reset mends what asks for less as well."""
    if recovery.rebooted:
        return "the host was rebooted"
    if recovery.device_reset and finding.action not in NEEDS_REBOOT:
        return "the device was reset"
    return ""


def silent(finding: Finding, recovery: Recovery) -> str:
    """Return that the finding has been quiet for long enough, empty while it has not or when it needs a repair."""
    if finding.action in NEEDS_RESET | NEEDS_REBOOT or recovery.quiet_s < QUIET_S:
        return ""
    return f"it has not come again for {recovery.quiet_s:.0f} s"
