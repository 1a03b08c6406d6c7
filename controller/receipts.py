"""Which messages were taken in before: (node, boot id, sequence), and which boots may be forgotten.

What is committed is the log's own book (`EventLog.taken`), so that it is kept once. A boot that is over is forgotten
when nothing of it can come again: its node has since said, under another boot, that its outbox is empty, and what the
broker may still hold for an absent controller has expired.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.store.log import EventLog, Receipt
from controller.store.taken import Taken

FORGET_AFTER_S = 2 * 86_400.0
"""Source: our choice; twice the time for which the broker keeps messages for an absent controller (one day)."""

MOST_BOOTS = 256
"""Of one node within those days. Source: our choice; a host that starts again every quarter of an hour has fewer."""

_NONE = Taken()


@dataclass(slots=True)
class Receipts:
    """What is committed, and what is on its way to be.

    Attributes:
        emptied: node → boot id under which it last said that its outbox was empty.
    """

    _committed: dict[tuple[str, str], Taken] = field(default_factory=dict)
    _under_way: set[Receipt] = field(default_factory=set)
    emptied: dict[str, str] = field(default_factory=dict)
    _boots: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def recall(cls, log: EventLog) -> Receipts:
        """Return the receipts that the log holds, kept up by its commits."""
        return cls(log.recall_taken())

    def first(self, receipt: Receipt) -> bool:
        """Return whether this message is new, and remember that it is on its way."""
        if receipt in self._under_way or self.committed(receipt):
            return False
        self._under_way.add(receipt)
        return True

    def committed(self, receipt: Receipt) -> bool:
        """Return whether this message is in the log."""
        return receipt.seq in self._committed.get((receipt.node, receipt.boot_id), _NONE)

    def has_room(self, node: str, boot_id: str) -> bool:
        """Return whether messages of this boot can be remembered beside those of the node's other boots."""
        boots = self._boots.setdefault(node, set())
        if boot_id not in boots and (len(boots) < MOST_BOOTS or (node, boot_id) in self._committed):
            boots.add(boot_id)
        return boot_id in boots

    def commit(self, receipt: Receipt) -> None:
        """The message is in the log now."""
        self._under_way.discard(receipt)

    def over(self, now: float) -> list[tuple[str, str]]:
        """Return the (node, boot id) of which no message can come again."""
        self._boots.clear()
        for node, boot_id in self._committed:
            self._boots.setdefault(node, set()).add(boot_id)
        return [
            (node, boot_id)
            for (node, boot_id), taken in self._committed.items()
            if self.emptied.get(node, boot_id) != boot_id and now - taken.heard_at > FORGET_AFTER_S
        ]
