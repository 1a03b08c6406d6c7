"""Which messages were taken in before: (node, boot id, sequence), kept small because sequences hardly have gaps."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.store.sqlite import Receipt, SqliteLog


@dataclass(slots=True)
class _Boot:
    """Everything up to `floor` was seen, and so was what `above` holds."""

    floor: int = 0
    above: set[int] = field(default_factory=set)

    def add(self, seq: int) -> None:
        self.above.add(seq)
        while self.floor + 1 in self.above:
            self.floor += 1
            self.above.discard(self.floor)

    def __contains__(self, seq: int) -> bool:
        return seq <= self.floor or seq in self.above


@dataclass(slots=True)
class Receipts:
    """What is committed, and what is on its way to be."""

    _committed: dict[tuple[str, str], _Boot] = field(default_factory=dict)
    _under_way: set[Receipt] = field(default_factory=set)

    @classmethod
    def recall(cls, log: SqliteLog) -> Receipts:
        """Return the receipts that the log holds."""
        receipts = cls()
        for receipt in log.receipts():
            receipts.commit(receipt)
        return receipts

    def first(self, receipt: Receipt) -> bool:
        """Return whether this message is new, and remember that it is on its way."""
        if receipt in self._under_way or self.committed(receipt):
            return False
        self._under_way.add(receipt)
        return True

    def committed(self, receipt: Receipt) -> bool:
        """Return whether this message is in the log."""
        boot = self._committed.get((receipt.node, receipt.boot_id))
        return boot is not None and receipt.seq in boot

    def commit(self, receipt: Receipt) -> None:
        """The message is in the log now."""
        self._under_way.discard(receipt)
        self._committed.setdefault((receipt.node, receipt.boot_id), _Boot()).add(receipt.seq)
