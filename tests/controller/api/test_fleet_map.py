"""The map of a fleet that has more nodes than a page has room for, and its counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.api import rows
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.node_belief import by_health, health
from controller.web.fleet_map import MAX_TILES, fleet_view

NODES = MAX_TILES + 100


@dataclass
class View:
    """A cell as far as the map needs one."""

    belief: Belief = field(default_factory=Belief)

    def now(self) -> float:
        return 2_000.0

    def tell(self, *said: events.Event) -> None:
        for event in said:
            folding.apply(self.belief, events.Logged(self.belief.last_event_id + 1, 1_000.0, event))


@pytest.fixture(scope="module")
def view() -> View:
    """n0 to n1099: the last five failed, the three before them are silent, the two before those degraded."""
    view = View()
    view.tell(*(events.PresenceChanged(f"n{number}", "online", "so") for number in range(NODES)))
    view.tell(*(_fault(number, Verdict.FAILED) for number in range(NODES - 5, NODES)))
    view.tell(*(events.PresenceChanged(f"n{number}", "silent", "so") for number in range(NODES - 8, NODES - 5)))
    view.tell(*(_fault(number, Verdict.DEGRADED) for number in range(NODES - 10, NODES - 8)))
    return view


def _fault(number: int, verdict: Verdict) -> events.Event:
    finding = Finding("gpu.xid", "GPU-0", "79", verdict, Action.NONE, "It is so.")
    return events.FindingRaised(f"n{number}", "boot", finding, 1_000.0)


def test_the_worst_have_room_and_stand_in_the_order_of_their_names(view: View) -> None:
    shown = fleet_view(view)  # type: ignore[arg-type]  # the map asks for no more of a cell
    assert (len(shown.tiles), shown.hidden) == (MAX_TILES, NODES - MAX_TILES)
    names = [tile.name for tile in shown.tiles]
    assert names == [f"n{number}" for number in range(MAX_TILES - 10)] + [f"n{n}" for n in range(NODES - 10, NODES)]


def test_the_map_narrows_to_one_health(view: View) -> None:
    shown = fleet_view(view, only="unknown")  # type: ignore[arg-type]  # as above
    assert [tile.name for tile in shown.tiles] == [f"n{number}" for number in range(NODES - 8, NODES - 5)]
    assert shown.hidden == 0


def test_the_counts_are_those_of_each_node_by_itself(view: View) -> None:
    counts = rows.counts(view.belief.nodes.values(), [])
    assert (counts.nodes, counts.failed, counts.unknown, counts.degraded) == (NODES, 5, 3, 2)
    assert counts.ok == NODES - 10
    for verdict, nodes in by_health(view.belief.nodes.values()).items():
        assert {health(node) for node in nodes} == {verdict}
