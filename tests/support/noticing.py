"""A desk of tickets and pages with destinations that remember, refuse, hang and answer as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.adapters import Answer, Filed, Heard, Notice, Notifier
from controller.cell import Cell
from controller.notices.choosing import Destinations
from controller.notices.courier import Courier
from controller.notices.desk import NoticeDesk
from controller.policy.noticing.routing import DestinationRule, NoticeRules


@dataclass(slots=True)
class Mailbox:
    """One destination.

    Attributes:
        fails: raised, one after the other, in place of taking what comes; the last one again and again while `broken`.
        held: sorts of what is not answered now; a look is of the sort `looked`, and says what was when it began.
        stands: reference → how it stands there, as people left it.
        always: the one reference that it answers everything with, empty for one each.
        waiting: of which sort each is that came and is not answered yet.
        said: what came, in order: `filed`, `updated`, `closed` or `acknowledged`, and the notice.
    """

    name: str
    repeatable: bool = True
    fails: list[Exception] = field(default_factory=list)
    broken: Exception | None = None
    held: set[str] = field(default_factory=set)
    stands: dict[str, Answer] = field(default_factory=dict)
    said: list[tuple[str, Notice]] = field(default_factory=list)
    looks: int = 0
    always: str = ""
    waiting: list[str] = field(default_factory=list)
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, *sorts: str) -> None:
        """Answer nothing of these sorts; nothing at all when none is named."""
        self.held = set(sorts) or {"filed", "updated", "closed", "acknowledged", "looked"}

    def let_go(self) -> None:
        """Answer everything again, and what waits first."""
        self.held.clear()
        self._let_go.set()
        self._let_go = asyncio.Event()

    async def _pass(self, what: str) -> None:
        if what not in self.held:
            return
        self.waiting.append(what)
        try:
            await self._let_go.wait()
        finally:
            self.waiting.remove(what)

    async def _come(self, what: str, notice: Notice) -> None:
        await self._pass(what)
        if self.fails:
            raise self.fails.pop(0)
        if self.broken is not None:
            raise self.broken
        self.said.append((what, notice))

    async def send(self, notice: Notice) -> Filed:
        await self._come("filed", notice)
        reference = self.always or f"{self.name.upper()}-{len(self.of('filed'))}"
        self.stands[reference] = Answer(Heard.OPEN)
        return Filed(reference, f"https://{self.name}.example/{reference}")

    async def update(self, reference: str, notice: Notice) -> None:
        await self._come("updated", notice)
        self.stands[reference] = Answer(Heard.OPEN)

    async def close(self, reference: str, notice: Notice) -> None:
        await self._come("closed", notice)
        self.stands[reference] = Answer(Heard.CLOSED)

    async def acknowledge(self, reference: str, notice: Notice) -> None:
        await self._come("acknowledged", notice)
        self.stands[reference] = Answer(Heard.ACKNOWLEDGED)

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        stood = {each: self.stands[each] for each in references}
        await self._pass("looked")
        if self.broken is not None:
            raise self.broken
        self.looks += 1
        return stood

    def of(self, what: str) -> list[Notice]:
        """Return what came of one sort."""
        return [notice for sort, notice in self.said if sort == what]

    def sorts(self) -> list[str]:
        """Return of which sort each thing was that came."""
        return [sort for sort, _ in self.said]


def destinations_with(
    tickets: Sequence[tuple[Notifier, DestinationRule]], pages: Sequence[tuple[Notifier, DestinationRule]]
) -> Destinations:
    """Return these destinations, in order; nothing waits to be bundled."""
    rules = NoticeRules(tuple(rule for _, rule in tickets), tuple(rule for _, rule in pages), bundle_s=0.0)
    return Destinations({rule.name: it for it, rule in tickets}, {rule.name: it for it, rule in pages}, rules)


def desk_of(
    cell: Cell,
    tickets: Notifier,
    pages: Notifier,
    clock: Callable[[], float],
    *,
    leads: Callable[[], bool] = lambda: True,
    term: int = 1,
    destinations: Destinations | None = None,
) -> NoticeDesk:
    """Return a desk that sends every ticket to the one and every page to the other, or to other destinations."""
    usual = destinations_with([(tickets, DestinationRule(tickets.name))], [(pages, DestinationRule(pages.name))])
    courier = Courier(cell, destinations or usual, clock, "http://127.0.0.1", leads, lambda: term)
    return NoticeDesk(courier, listen_every_s=0.05, tick_s=0.02, patience_s=0.5)
