"""Who confirms that a silent node is lost (I1): every combination of the scheduler, the BMC and the nodes beside it."""

from __future__ import annotations

from itertools import product

import pytest

from controller import events
from controller.policy.neighbours import MOST_ASKED, judged, peers_of, to_ask_about
from controller.policy.playbook import Verb
from controller.policy.presence import AGENT_LOST, NODE_LOST
from controller.policy.rules import Budget, Rules
from tests.support.policy import AGENT_LOST as AGENT_LOST_BOOK
from tests.support.policy import NODE_LOST as NODE_LOST_BOOK
from tests.support.policy import PolicyRun
from wire.messages import NodeFacts

RULES = Rules((AGENT_LOST_BOOK, NODE_LOST_BOOK), Budget(nodes=2), breakers=(), domains=(), agent_lost_after_s=30.0)

RESPONDING = {"answers": True, "silent": False, "nobody": None}
PEERS = {
    "nobody": ((), ()),
    "reach": (("n2",), ("n3", "n4")),
    "one": ((), ("n2",)),
    "two": ((), ("n2", "n3")),
}
TABLE = """
scheduler  bmc      nobody reach one two
answers    nothing  agent  agent agent agent
answers    unknown  agent  agent agent agent
answers    on       agent  agent agent agent
answers    off      agent  agent agent agent
silent     nothing  node   agent node  node
silent     unknown  node   agent node  node
silent     on       node   agent node  node
silent     off      node   agent node  node
nobody     nothing  agent  agent agent will
nobody     unknown  agent  agent agent will
nobody     on       agent  agent agent agent
nobody     off      node   agent node  node
"""
"""`will`: the node is lost if the broker told by Last Will that its connection is gone, else its agent alone is."""


def rows() -> list[tuple[str, str, str, str, str]]:
    head, *lines = (line.split() for line in TABLE.strip().splitlines())
    cells = [
        (scheduler, bmc, peers, word)
        for scheduler, bmc, *words in lines
        for peers, word in zip(head[2:], words, strict=True)
    ]
    assert len(cells) == len(RESPONDING) * 4 * len(PEERS)
    return [(*cell, presence) for cell, presence in product(cells, ("lost", "silent"))]


def fleet() -> PolicyRun:
    return PolicyRun(RULES).nodes(*(f"n{number}" for number in range(1, 9)))


def peers_say(run: PolicyRun, peers: str) -> None:
    reached, unreached = PEERS[peers]
    run.say(events.PeersObserved("n1", list(reached), list(unreached), "so", run.now))


def watched(run: PolicyRun, *, responding: bool | None) -> None:
    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now, responding))


def silent(scheduler: str, bmc: str, peers: str, presence: str = "lost") -> PolicyRun:
    run = fleet()
    run.say(events.PresenceChanged("n1", presence, "so"))
    watched(run, responding=RESPONDING[scheduler])
    if bmc != "nothing":
        run.say(events.BmcObserved("n1", bmc, "so", run.now))
    if peers != "nobody":
        peers_say(run, peers)
    run.wait(31.0)
    return run


def found(run: PolicyRun) -> set[str]:
    return {key.check for key in run.belief.nodes["n1"].findings}


@pytest.mark.parametrize(("scheduler", "bmc", "peers", "word", "presence"), rows())
def test_i1_who_confirms_a_loss(scheduler: str, bmc: str, peers: str, word: str, presence: str) -> None:
    run = silent(scheduler, bmc, peers, presence)
    is_lost = word == "node" or (word == "will" and presence == "lost")
    assert found(run) == {NODE_LOST.check if is_lost else AGENT_LOST.check}
    assert (Verb.CORDON in run.verbs("n1")) is is_lost


def test_the_sentence_says_who_reaches_it_and_who_says_otherwise() -> None:
    assert silent("silent", "off", "reach").incident().because == (
        "The agent on n1 is lost for 31 s; n2 can reach its host, so the node lives, though the scheduler's daemon on "
        "it does not answer and its BMC says that it has no power, but nothing is known of it."
    )
    assert silent("nobody", "unknown", "two").incident().because == (
        "n1 is lost: its agent is lost, and n2 and n3 do not reach its host, though they reach each other."
    )


def test_i1_a_peer_that_reaches_it_later_takes_every_word_back() -> None:
    for scheduler, bmc, peers in (
        ("silent", "on", "nobody"),
        ("nobody", "off", "nobody"),
        ("nobody", "unknown", "two"),
    ):
        run = silent(scheduler, bmc, peers)
        assert found(run) == {NODE_LOST.check}
        peers_say(run, "reach")
        assert found(run) == {AGENT_LOST.check}


def test_i1_power_takes_back_what_peers_alone_said_and_silence_of_peers_takes_nothing_back() -> None:
    run = silent("nobody", "nothing", "two")
    peers_say(run, "nobody")
    assert found(run) == {NODE_LOST.check}
    run.say(events.BmcObserved("n1", "on", "so", run.now))
    assert found(run) == {AGENT_LOST.check}


def test_i1_what_peers_said_in_one_silence_is_forgotten_in_the_next() -> None:
    run = silent("nobody", "nothing", "two")
    run.say(events.PresenceChanged("n1", "online", "back"))
    peers_say(run, "two")
    run.say(events.PresenceChanged("n1", "lost", "so"))
    run.wait(31.0)
    assert found(run) == {AGENT_LOST.check}


# --- who is asked ----------------------------------------------------------------------------------------------------


def see(run: PolicyRun, name: str, *, address: str = "", leaf: str = "", rack: str = "", orders: str = "reach") -> None:
    places = {kind: [place] for kind, place in (("leaf", leaf), ("rack", rack)) if place}
    facts = NodeFacts(address=address or f"{name}.example", orders_allowed=[orders], places=places)
    run.believe(events.NodeSeen(name, "boot-1", facts))


def addressed(*, near: bool = True) -> PolicyRun:
    run = fleet()
    for number in range(1, 9):
        see(run, f"n{number}", leaf=f"leaf-{number % 2}" if near else "", rack="r1" if near else "")
    return run


def asked_of(run: PolicyRun) -> list[str]:
    return list(peers_of(run.belief, "n1"))


def test_the_same_leaf_is_asked_first_then_the_rack_then_any() -> None:
    run = addressed()
    assert asked_of(run) == ["n3", "n5", "n7"]
    for lost in ("n3", "n5"):
        run.believe(events.PresenceChanged(lost, "lost", "so"))
    assert asked_of(run) == ["n7", "n2", "n4"]
    assert asked_of(addressed(near=False)) == ["n2", "n3", "n4"]


def test_only_those_are_asked_that_are_heard_take_the_order_and_have_an_address_of_their_own() -> None:
    run = addressed()
    see(run, "n3", leaf="leaf-1", orders="run_checks")
    see(run, "n5", leaf="leaf-1", address="127.1")
    see(run, "n7", leaf="leaf-1", address="n1.example")
    run.believe(events.PresenceChanged("n2", "stopped", "so"))
    assert asked_of(run) == ["n4", "n6", "n8"]
    assert len(asked_of(run)) == MOST_ASKED
    see(run, "n1", address="$(reboot)")
    assert asked_of(run) == []


def about(run: PolicyRun, after_s: float = 15.0) -> list[str]:
    return list(to_ask_about(run.belief, run.rules, run.now + after_s))


def test_nobody_is_asked_about_a_node_that_is_heard_or_was_just_lost_or_that_others_speak_for() -> None:
    run = fleet()
    assert about(run) == []
    run.say(events.PresenceChanged("n1", "lost", "so"))
    assert (about(run, 1.0), about(run)) == ([], ["n1"])
    watched(run, responding=False)
    assert about(run) == []
    watched(run, responding=None)
    run.say(events.BmcObserved("n1", "on", "so", run.now))
    assert about(run) == []
    run.say(events.BmcObserved("n1", "unknown", "so", run.now))
    assert about(run) == ["n1"]


def test_a_word_of_peers_that_stands_is_renewed_whatever_others_say_by_now() -> None:
    run = silent("silent", "off", "reach")
    assert about(run) == ["n1"]


def test_nobody_is_asked_in_a_mass_silence() -> None:
    run = fleet()
    for name in ("n1", "n2", "n3", "n4"):
        run.say(events.PresenceChanged(name, "lost", "so"))
    assert about(run) == []


# --- what their answers prove ----------------------------------------------------------------------------------------

ADDRESSES = {"n2": "10.0.0.2", "n3": "10.0.0.3", "n4": "10.0.0.4"}
YES, NO = "reached", "not_reached"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, ([], [])),
        ({"n2": {"n1": YES}}, (["n2"], [])),
        (
            {"n2": {"n1": YES}, "n3": {"n1": NO, "10.0.0.4": YES}, "n4": {"n1": NO, "10.0.0.3": YES}},
            (["n2"], ["n3", "n4"]),
        ),
        ({"n2": {"n1": NO, "10.0.0.3": YES}, "n3": {"n1": NO, "10.0.0.2": YES}}, ([], ["n2", "n3"])),
        ({"n2": {"n1": NO, "10.0.0.3": YES}, "n3": {"n1": NO, "10.0.0.2": NO}}, ([], [])),
        ({"n2": {"n1": NO, "10.0.0.3": YES}}, ([], [])),
        ({"n2": {"n1": NO, "10.0.0.3": YES}, "n3": {"n1": "unknown", "10.0.0.2": YES}}, ([], [])),
        ({"n2": {"n1": NO}, "n3": {"n1": NO}, "n4": {"n1": NO}}, ([], [])),
        ({"n2": {"n1": "rubbish"}, "n3": {"": ""}}, ([], [])),
    ],
)
def test_those_count_that_reach_each_other(
    answers: dict[str, dict[str, str]], expected: tuple[list[str], list[str]]
) -> None:
    assert judged("n1", ADDRESSES, answers) == expected


def test_whoever_reaches_itself_under_the_name_of_another_has_proved_nothing() -> None:
    answers = {"n2": {"n1": NO, "127.0.0.3": YES}, "n3": {"n1": NO, "127.0.0.2": YES}}
    assert judged("n1", {"n2": "127.0.0.2", "n3": "127.0.0.3"}, answers) == ([], [])
