"""Where nodes stand, as a fold: claims of several sources, what is derived, and the index of who stands where."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller import events
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.places import PRECEDENCE, places_of, sources_of
from tests.support.policy import START, PolicyRun
from wire.messages import NodeFacts

H100 = NodeFacts(gpu_model="H100", driver_version="580.65.06", places={"leaf": ["leaf-9"], "nvlink_domain": ["c.1"]})


def seen(node: str, facts: NodeFacts = H100) -> events.NodeSeen:
    return events.NodeSeen(node, "boot-1", facts)


def placed(node: str, source: str, **places: list[str]) -> events.NodePlaced:
    return events.NodePlaced(node, places, source)


def test_a_better_source_wins_each_kind_whole_whichever_came_first() -> None:
    said = (
        placed("n1", "file", rack=["r1"]),
        placed("n1", "slurm", leaf=["s1", "s2"], rack=["r7"]),
        seen("n1"),
        placed("n1", "netbox", rack=["r2"], site=["fra"]),
    )
    expected = {"leaf": ("s1", "s2"), "nvlink_domain": ("c.1",), "rack": ("r1",), "site": ("fra",)}
    expected_sources = {"leaf": "slurm", "nvlink_domain": "node", "rack": "file", "site": "netbox"}
    for order in (said, said[::-1]):
        run = PolicyRun()
        run.say(*order)
        assert expected == run.belief.nodes["n1"].places
        assert expected_sources == sources_of(run.belief.nodes["n1"].claims)


def test_a_source_that_takes_its_word_back_leaves_it_to_the_next() -> None:
    run = PolicyRun()
    run.say(seen("n1"), placed("n1", "file", leaf=["leaf-1"]))
    assert {"n1"} == run.belief.residents["leaf", "leaf-1"]
    run.say(placed("n1", "file"))
    assert run.belief.nodes["n1"].places["leaf"] == ("leaf-9",)
    assert ("leaf", "leaf-1") not in run.belief.residents
    assert {"n1"} == run.belief.residents["leaf", "leaf-9"]


def test_what_a_node_is_and_does_places_it_too() -> None:
    run = PolicyRun()
    run.say(seen("n1"), seen("n2"))
    run.say(events.ScheduleObserved("n1", True, "", "", ["71", "72"], START))
    assert {"n1", "n2"} == run.belief.residents["sku", "H100"] == run.belief.residents["driver", "580.65.06"]
    assert places_of(run.belief.nodes["n1"])["job"] == ("71", "72")
    run.say(events.ScheduleObserved("n1", True, "", "", ["72"], START + 1))
    assert ("job", "71") not in run.belief.residents
    run.say(seen("n2", msgspec.structs.replace(H100, driver_version="590.1")))
    assert {"n1"} == run.belief.residents["driver", "580.65.06"]
    assert {"n2"} == run.belief.residents["driver", "590.1"]


def test_nobody_may_claim_what_is_derived() -> None:
    run = PolicyRun()
    run.say(seen("n1"), placed("n1", "file", job=["71"], sku=["A100"], driver=["1"], rack=[""]))
    assert places_of(run.belief.nodes["n1"]) == {
        "driver": ("580.65.06",),
        "leaf": ("leaf-9",),
        "nvlink_domain": ("c.1",),
        "sku": ("H100",),
    }


NODES = st.sampled_from(["n1", "n2", "n3"])
NAMES = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=3)
PLACES = st.dictionaries(st.sampled_from(["rack", "leaf", "site", "job", ""]), NAMES, max_size=3)
SAID = st.one_of(
    st.builds(events.NodePlaced, NODES, PLACES, st.sampled_from([*PRECEDENCE, "unheard-of"])),
    st.builds(seen, NODES, st.builds(NodeFacts, gpu_model=NAMES.map("".join), places=PLACES)),
    st.builds(lambda node, jobs: events.ScheduleObserved(node, True, "", "", jobs, START), NODES, NAMES),
)


@given(st.lists(SAID, max_size=20))
def test_the_index_always_says_what_the_nodes_say(said: list[events.Event]) -> None:
    """The index is kept event by event; counting all nodes anew gives the same."""
    belief = Belief()
    for number, event in enumerate(said):
        folding.apply(belief, events.Logged(number + 1, START, event))
    counted: dict[tuple[str, str], set[str]] = {}
    for node in belief.nodes.values():
        for kind, names in places_of(node).items():
            for name in names:
                counted.setdefault((kind, name), set()).add(node.name)
    assert counted == belief.residents


@given(st.lists(SAID, max_size=12))
def test_i12_the_log_read_back_gives_the_same_places(said: list[events.Event]) -> None:
    log = [events.Logged(number + 1, START, event) for number, event in enumerate(said)]
    back = msgspec.json.decode(msgspec.json.encode(log), type=list[events.Logged])
    first, second = Belief(), Belief()
    for belief, entries in ((first, log), (second, back)):
        for entry in entries:
            folding.apply(belief, entry)
    assert first == second


def test_a_log_from_before_places_still_reads() -> None:
    old = b'{"event_id":1,"at":1.0,"event":{"type":"node.seen","node":"n1","boot_id":"b","facts":{"gpu_count":8}}}'
    belief = Belief()
    folding.apply(belief, msgspec.json.decode(old, type=events.Logged))
    assert places_of(belief.nodes["n1"]) == {}
