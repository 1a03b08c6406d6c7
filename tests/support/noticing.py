"""A desk of tickets and pages with one destination of each, as it stands behind most tests."""

from __future__ import annotations

from collections.abc import Callable

from controller.adapters import Notifier
from controller.cell import Cell
from controller.notices.choosing import Destinations
from controller.notices.courier import Courier
from controller.notices.desk import NoticeDesk
from controller.policy.noticing.routing import DestinationRule, NoticeRules


def desk_of(
    cell: Cell,
    tickets: Notifier,
    pages: Notifier,
    clock: Callable[[], float],
    *,
    leads: Callable[[], bool] = lambda: True,
    page_url: str = "http://test",
    term: int = 1,
) -> NoticeDesk:
    """Return a desk that sends every ticket to the one and every page to the other."""
    rules = NoticeRules((DestinationRule(tickets.name),), (DestinationRule(pages.name),), bundle_s=0.0)
    destinations = Destinations({tickets.name: tickets}, {pages.name: pages}, rules)
    courier = Courier(cell, destinations, clock, page_url, leads, lambda: term)
    return NoticeDesk(courier, listen_every_s=0.05, tick_s=0.02)
