"""Who waits to be thought about, and in whose turn: no node's words keep those of the others waiting.

What the controller says itself goes first. Of what nodes say, each batch has a few words of every node that waits, in
turn: one that has much to say takes more batches for it, and nobody else notices. The words of one node stay in order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SHARE: Final = 16
"""So many events of one node are in a batch, or one thing that is more. Source: our choice; thinking about so many
takes about as long as committing them, and that is what a node that floods makes the others wait."""


@dataclass(slots=True)
class Turns(Generic[T]):
    """A queue of the controller's own, and one of each node that waits; the node whose turn is next comes first."""

    _own: deque[T] = field(default_factory=deque)
    _nodes: OrderedDict[str, deque[tuple[T, int]]] = field(default_factory=OrderedDict)

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._own or self._nodes)

    def add(self, item: T, node: str = "", *, events: int = 1) -> None:
        """Put something that comes to so many events behind all else of its node, or of the controller's own."""
        if not node:
            self._own.append(item)
            return
        waiting = self._nodes.get(node)
        if waiting is None:
            waiting = self._nodes[node] = deque()
        waiting.append((item, max(1, events)))

    def add_first(self, item: T) -> None:
        """Put something before all that waits."""
        self._own.appendleft(item)

    def take(self, most: int) -> list[T]:
        """Return the next batch, at most so many things, and have them wait no more."""
        batch = [self._own.popleft() for _ in range(min(len(self._own), most))]
        for _ in range(len(self._nodes)):
            if len(batch) >= most:
                break
            node, waiting = self._nodes.popitem(last=False)
            batch += _share_of(waiting, most - len(batch))
            if waiting:
                self._nodes[node] = waiting
        return batch

    def oldest(self) -> Iterator[T]:
        """Yield what has waited longest of each."""
        if self._own:
            yield self._own[0]
        for waiting in self._nodes.values():
            yield waiting[0][0]


def _share_of(waiting: deque[tuple[T, int]], most: int) -> Iterator[T]:
    """Yield what of one node's comes next: one thing, and more while all of it comes to no more than its share."""
    left = SHARE
    while waiting and most and (left == SHARE or waiting[0][1] <= left):
        item, events = waiting.popleft()
        left -= events
        most -= 1
        yield item
