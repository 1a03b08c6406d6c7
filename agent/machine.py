"""What an agent can do to its own node, as its orders see it. One implementation is the real host
(agent/host_machine.py), the other a simulated one (agent/simulation/machine.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class ActionFailed(Exception):
    """The action was tried and did not work; the text says what happened."""


class ActionRefused(Exception):
    """A precondition does not hold (GPU in use, service unknown, not possible on this host); nothing was done."""


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended. `evidence`: name → text."""

    because: str
    evidence: dict[str, str] = field(default_factory=dict)


class Machine(Protocol):
    """The node's own hands."""

    simulated: bool

    def boot_id(self) -> str:
        """Return the kernel's boot id: another one means another boot."""
        ...

    async def reset_gpu(self, device: str) -> Done:
        """Reset the GPU with this UUID."""
        ...

    async def restart_service(self, service: str) -> Done:
        """Restart a systemd unit."""
        ...

    async def reboot(self) -> Done:
        """Begin a reboot; the agent is ended by it."""
        ...

    async def inject_fault(self, fault: str, *, device: str, parameters: dict[str, str]) -> Done:
        """Make a fault happen at the lowest seam this node has (see agent/simulation/faults.py)."""
        ...
