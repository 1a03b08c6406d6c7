"""How much of what a node says is taken in: enough for any that is well, and no more of one that is not.

A node's credentials let it speak on its own branch as fast as the network carries. What it says above its allowance is
dropped before it is decoded, so that it costs the others nothing that they would notice. An event that is dropped is
not acknowledged as stored: a node that is well, and only had much to say at once, says it again, and nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MOST_WAITING: Final = 192
"""So many messages of one node may wait to be decided. Source: our choice; an agent has 64 events under way at once
(agent/publisher.py), and a cluster of brokers may give each of them again."""

BURST: Final = 120_000
"""Messages at once. Source: our choice; an outbox that is full (agent/outbox.py), with some that come again."""

MESSAGES_PER_S: Final = 20.0
"""Sustained. Source: our choice; an agent that is well says one a minute, one in trouble some a second."""

BURST_BYTES: Final = 192 << 20
"""The same in bytes: what is in an outbox travels with its envelope."""
BYTES_PER_S: Final = 256 << 10
"""Sustained. Source: our choice; one message of the largest size a second."""

CALM_S: Final = 300.0
"""A node that kept to its allowance for so long floods no more."""


@dataclass(slots=True)
class _Account:
    """What one node has left. `waiting`: messages that are not decided; `dropped_at`: when the last one was dropped."""

    messages: float
    size_bytes: float
    at: float
    waiting: int = 0
    dropped: int = 0
    dropped_at: float = 0.0


@dataclass(slots=True)
class Allowance:
    """The nodes' accounts. All times are Unix seconds; a clock that is set back or ahead gives nobody less."""

    _accounts: dict[str, _Account] = field(default_factory=dict)
    _flooding: dict[str, _Account] = field(default_factory=dict)

    def why_not(self, node: str, size_bytes: int, now: float) -> str:
        """Take a message from what a node has left; return why it is not to be had, empty when it is."""
        account = self._accounts.get(node)
        if account is None:
            account = self._accounts[node] = _Account(BURST, BURST_BYTES, now)
        _fill(account, now)
        because = _why_not(account, size_bytes)
        if because:
            self.exceeded(node, now)
            return because
        account.messages -= 1.0
        account.size_bytes -= size_bytes
        account.waiting += 1
        return ""

    def exceeded(self, node: str, now: float) -> None:
        """A message of the node was dropped, because that was one too many."""
        account = self._flooding[node] = self._accounts[node]
        account.dropped += 1
        account.dropped_at = now

    def charge(self, node: str, events: int) -> None:
        """A message that was had says so many things besides its first: one level may change hundreds of findings."""
        account = self._accounts[node]
        account.messages -= events
        account.waiting += events

    def done(self, node: str, *, events: int = 1) -> None:
        """A message that was had is decided, and all that it says."""
        self._accounts[node].waiting -= events

    def flooding(self, now: float) -> dict[str, int]:
        """Return the nodes that say more than they may, or did of late → how many of their messages were dropped."""
        for node, account in list(self._flooding.items()):
            if not 0.0 <= now - account.dropped_at < CALM_S:
                account.dropped = 0
                del self._flooding[node]
        return {node: account.dropped for node, account in self._flooding.items()}


def _fill(account: _Account, now: float) -> None:
    passed_s = max(0.0, now - account.at)
    account.at = now
    account.messages = min(BURST, account.messages + passed_s * MESSAGES_PER_S)
    account.size_bytes = min(BURST_BYTES, account.size_bytes + passed_s * BYTES_PER_S)


def _why_not(account: _Account, size_bytes: int) -> str:
    if account.waiting >= MOST_WAITING:
        return f"flooding: {account.waiting} messages of this node wait already"
    if account.messages < 1.0:
        return f"flooding: it says more than {MESSAGES_PER_S:g} messages a second"
    if account.size_bytes < size_bytes:
        return f"flooding: it says more than {BYTES_PER_S >> 10} KiB a second"
    return ""
