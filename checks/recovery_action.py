"""What the driver itself asks for: NVML field 230, and Xid 154 when it changes. It outranks any static table.

Source: `nvml.h`, `nvmlDeviceGpuRecoveryAction_t` and NVML_FI_DEV_GET_GPU_RECOVERY_ACTION; nvidia-ml-py 13.615 for 6
and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

from checks.finding import Action, Verdict


@dataclass(frozen=True, slots=True)
class RecoveryAction:
    """One value: its code as a fault, and what it means for us."""

    code: str
    verdict: Verdict
    action: Action
    meaning: str


_BY_VALUE = (
    RecoveryAction("", Verdict.OK, Action.NONE, "nothing"),
    RecoveryAction("reset", Verdict.FAILED, Action.RESET_GPU, "a GPU reset"),
    RecoveryAction("reboot", Verdict.FAILED, Action.REBOOT, "a reboot of the node"),
    RecoveryAction("drain_p2p", Verdict.FAILED, Action.RESET_GPU, "an end of all peer-to-peer work, then another look"),
    RecoveryAction("drain_and_reset", Verdict.FAILED, Action.RESET_GPU, "a drain, then a GPU reset"),
    RecoveryAction("recover_imex", Verdict.FAILED, Action.RESTART_SERVICE, "a recovery of the IMEX domain"),
    RecoveryAction("bus_reset", Verdict.FAILED, Action.RESET_GPU, "a reset of the GPU's bus"),
    RecoveryAction("system_reboot", Verdict.FAILED, Action.REBOOT, "a reboot of the system"),
)


MEANINGS = len(_BY_VALUE)
"""So many values, from 0 on, are known."""


def recovery_action(value: int) -> RecoveryAction:
    """Return what a value asks for; one that this table does not know is kept as degraded.

    Drain P2P asks to end peer-to-peer processes and UVM persistence and to look again. Our reset of a GPU begins with
    that drain and ends with that look, and no weaker action here ends UVM persistence.
    """
    if 0 <= value < len(_BY_VALUE):
        return _BY_VALUE[value]
    meaning = f"recovery action {value}, which this version does not know"
    return RecoveryAction(f"unknown_{value}", Verdict.DEGRADED, Action.CONTACT_SUPPORT, meaning)
