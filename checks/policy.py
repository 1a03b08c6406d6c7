"""When what a level check sees counts: each check declares it, in one place, with the reason.

The evaluator (checks/evaluator.py) applies boot grace and the comparison with peers, the agent's book (agent/book.py)
the hysteresis. A check itself judges readings and knows none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from checks.finding import Action

EVERYWHERE = "host"
"""Device of a finding that stands for the same fault on most devices of the host."""


@dataclass(frozen=True, slots=True)
class PeerRule:
    """When the same fault on many like devices of one host is one fault of the host, not one of each device.

    Attributes:
        share: of the devices in the reading, exclusive: more than this share must show the fault.
        minimum: devices that must show it, inclusive, whatever their share.
        action: what mends the host.
        because: ends the sentence that begins with "7 of 8 devices ...".
    """

    action: Action
    because: str
    share: float = 0.5
    minimum: int = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """When what a level check sees counts. The defaults suit facts that are never momentary: count at once.

    Attributes:
        raise_after: how many readings must show a fault before it is raised, the newest among them.
        raise_within: of the last so many readings; 0 means that they must follow each other.
        clear_after: consecutive readings without the fault before it is cleared.
        boot_grace_s: until the host has been up for so long, a fault is `unknown`.
        peers: what the same fault on most devices means, `None` when it is one fault a device even then.
        because: the reason for all that differs from the defaults.
    """

    raise_after: int = 1
    clear_after: int = 1
    raise_within: int = 0
    boot_grace_s: float = 0.0
    peers: PeerRule | None = None
    because: str = ""

    @property
    def window(self) -> int:
        """How many readings are looked at to raise a fault."""
        return max(self.raise_after, self.raise_within)

    @property
    def settles_after(self) -> int:
        """After how many readings, counted from now, what is raised follows what they show."""
        return max(self.window, self.clear_after)

    def is_ripe(self, history: int) -> bool:
        """Return whether a fault counts that the last readings showed so: a bit each, the newest lowest."""
        return (history & (1 << self.window) - 1).bit_count() >= self.raise_after


AT_ONCE = Policy()
"""Every default."""
