"""A fleet's counts, and what its map says after every change, beside what a fresh look at each node would say."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.api import rows
from controller.api.map_keeper import MapKeeper
from controller.api.map_shapes import FleetMap
from controller.changes import Changes
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.node_belief import by_health, health

NODES = 1_100


@dataclass
class View:
    """A cell as far as the map needs one."""

    belief: Belief = field(default_factory=Belief)
    changes: Changes = field(default_factory=Changes)

    def now(self) -> float:
        return 2_000.0

    def tell(self, *said: events.Event) -> None:
        for event in said:
            entry = events.Logged(self.belief.last_event_id + 1, 1_000.0, event)
            folding.apply(self.belief, entry)
            self.changes.note(entry, self.belief)


@pytest.fixture
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


def test_a_kept_map_is_what_a_fresh_look_gives(view: View) -> None:
    changes = Changes()
    keeper = MapKeeper(changes)
    view.changes = changes
    assert _fresh(view) == keeper.current(view.belief, view.now())
    for said in (
        _fault(7, Verdict.FAILED),
        events.PresenceChanged("n8", "lost", "so"),
        events.OperatorActed("pause", "n9", "alice", ""),
        events.NodePlaced("n10", {"rack": ["r1"]}, "file"),
        events.OperatorActed("pause", "rack=r1", "alice", ""),
        events.PresenceChanged("a new one", "online", "so"),
        events.OperatorActed("resume", "rack=r1", "alice", ""),
        events.PresenceChanged("n7", "silent", "so"),
    ):
        view.tell(said)
        assert _fresh(view) == keeper.current(view.belief, view.now()), said
    kept = keeper.encoded(view.belief, view.now())
    assert msgspec.json.decode(kept, type=FleetMap) == _fresh(view)


def _fresh(view: View) -> FleetMap:
    return MapKeeper(view.changes).current(view.belief, view.now())


def test_the_counts_are_those_of_each_node_by_itself(view: View) -> None:
    counts = rows.counts(view.belief.nodes.values(), [])
    assert (counts.nodes, counts.failed, counts.unknown, counts.degraded) == (NODES, 5, 3, 2)
    assert counts.ok == NODES - 10
    for verdict, nodes in by_health(view.belief.nodes.values()).items():
        assert {health(node) for node in nodes} == {verdict}
