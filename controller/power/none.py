"""No power adapter: a power cycle is for people."""

from __future__ import annotations

from controller.errors import Refused


class NoPower:
    """Switches nothing."""

    name = "none"
    repeatable = True

    async def cycle(self, node: str, *, key: str, fencing_token: int) -> str:
        """Switch nothing.

        Raises:
            Refused: always.
        """
        del key, fencing_token
        raise Refused(f"no power adapter is configured, so a power cycle of {node} is for people")
