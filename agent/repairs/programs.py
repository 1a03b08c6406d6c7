"""The few programs by which a host is repaired, started with fixed argument lists, each with a deadline.

A program that hangs is killed; one that cannot be killed is in nobody's way but its own: a host on which nvidia-smi
hangs in the driver can still be rebooted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.machine import ActionFailed, ActionRefused
from agent.sources.child import ChildEnded, Command, DeadlineMissed, Ended, Slot, Stuck

NVIDIA_SMI: Final = "nvidia-smi"
SYSTEMCTL: Final = "systemctl"
MODPROBE: Final = "modprobe"

QUERY_LIMIT_S: Final = 30.0
"""After so long, a program that only tells something is late. Source: our choice, above the 25 s of a D-Bus call."""

MEANINGS: Final = {
    2: "an argument is not valid",
    3: "the GPU cannot be reset here: reboot the host instead",
    4: "it takes root",
    6: "there is no such GPU",
    8: "the GPU's power cables are not attached",
    9: "the driver is not loaded",
    10: "the kernel found a fault in the GPU's interrupts",
    12: "the NVML library was not found",
    13: "this driver cannot do that",
    14: "the GPU's InfoROM is corrupt",
    15: "the GPU has fallen off the bus: reboot the host instead",
}
"""Exit code of nvidia-smi → what it means. Source: nvidia-smi(1), RETURN VALUE."""


class Programs:
    """One place for each program: never a second one behind one that cannot be killed."""

    def __init__(self, make_slot: Callable[[], Slot] = Slot, *, query_limit_s: float = QUERY_LIMIT_S) -> None:
        """Run nothing yet."""
        self._query_limit_s = query_limit_s
        self._commands = {name: Command(make_slot()) for name in (NVIDIA_SMI, SYSTEMCTL, MODPROBE)}

    async def ask(self, *command: str) -> Ended:
        """Return how a program ended that only tells something.

        Raises:
            ActionRefused: it is not installed.
            ActionFailed: it hangs, or cannot be started.
        """
        return await self.run(*command, limit_s=self._query_limit_s)

    async def run(self, *command: str, limit_s: float) -> Ended:
        """Return how a program ended.

        Raises:
            ActionRefused: it is not installed.
            ActionFailed: it hangs, or cannot be started.
        """
        try:
            return await self._commands[command[0]].run(command, deadline_s=limit_s)
        except FileNotFoundError as error:
            raise ActionRefused(f"{command[0]} is not installed on this host") from error
        except (DeadlineMissed, Stuck, ChildEnded, OSError) as error:
            raise ActionFailed(f"{' '.join(command)}: {error}") from error


def explain(ended: Ended) -> str:
    """Return how nvidia-smi ended, to follow what was asked of it."""
    meaning = f" ({MEANINGS[ended.code]})" if ended.code in MEANINGS else ""
    return f"ended with code {ended.code}{meaning}: {said(ended)}"


def said(ended: Ended) -> str:
    """Return what a program printed, on one line."""
    return " ".join(ended.text.split()) or "no word"
