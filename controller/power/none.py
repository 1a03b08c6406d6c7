"""No power adapter: a power cycle is for people."""

from __future__ import annotations

from controller.adapters import PowerSeen
from controller.errors import Refused


class NoPower:
    """Switches nothing, and knows nothing."""

    name = "none"
    repeatable = True

    async def look(self, node: str) -> PowerSeen:
        """Return that nobody can say."""
        del node
        return PowerSeen("")

    async def cycle(self, node: str, *, key: str, fencing_token: int, cold: bool) -> str:
        """Switch nothing.

        Raises:
            Refused: always.
        """
        del key, fencing_token, cold
        raise Refused(f"no power adapter is configured, so a power cycle of {node} is for people")

    def is_half_done(self, key: str) -> bool:
        """Return no."""
        del key
        return False

    async def take_up(self, node: str, *, key: str, fencing_token: int) -> str:
        """Switch nothing.

        Raises:
            Refused: always.
        """
        return await self.cycle(node, key=key, fencing_token=fencing_token, cold=False)

    async def evidence(self, node: str) -> dict[str, str]:
        """Return nothing."""
        del node
        return {}
