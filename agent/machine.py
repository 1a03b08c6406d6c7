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
    """How it ended.

    Attributes:
        evidence: name → text.
        gpus: UUIDs of the GPUs that were reset by it.
    """

    because: str
    evidence: dict[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()


class Machine(Protocol):
    """The node's own hands."""

    simulated: bool

    def boot_id(self) -> str:
        """Return the kernel's boot id: another one means another boot."""
        ...

    async def reset_gpu(self, device: str, *, neighbours: bool = False) -> Done:
        """Reset the GPU with this UUID.

        Args:
            neighbours: the GPUs that can only be reset together with it may be, too, when nobody uses them.
        """
        ...

    async def restart_service(self, service: str) -> Done:
        """Restart a systemd unit."""
        ...

    async def reload_driver(self) -> Done:
        """Unload the driver of the GPUs and load it again."""
        ...

    async def reboot(self, *, force: bool = False) -> Done:
        """Begin a reboot; the agent is ended by it.

        Args:
            force: where services cannot be ended in order, the host goes down without.
        """
        ...

    async def recover(self) -> str:
        """Bring back what an earlier process took away for a repair and did not live to bring back.

        Returns:
            a sentence, empty when there was nothing.

        Raises:
            ActionFailed: not all of it came back.
        """
        ...

    async def inject_fault(self, fault: str, *, device: str, parameters: dict[str, str]) -> Done:
        """Make a fault happen at the lowest seam this node has (see agent/simulation/faults.py)."""
        ...
