"""Which nodes are asked whether they reach the host of a silent one, when, and what their answers prove. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Final

from controller.policy.belief import Belief
from controller.policy.node_belief import NodeBelief
from controller.policy.places import LEAF, RACK
from controller.policy.rules import Rules
from controller.policy.silence import frozen_by, is_mass_silence, is_rebooting
from wire.orders import OrderAction
from wire.reaching import NOT_REACHED, REACHED, is_of_this_host, why_no_address

MOST_ASKED: Final = 3
"""Source: our choice; two that agree are enough, and one of three may be dead too."""

SILENT_SHARE: Final = 1 / 3
"""Of the time after which a silent agent is a finding: nobody is asked sooner. Source: our choice; most agents that are
restarted are back by then, and the answer comes before the finding, whose sentence it belongs into."""

MOST_LOOKED_AT: Final = 1_000
"""So many nodes of a fleet are looked at for one that may be asked. Source: our choice; it bounds what a question costs
where hardly any node takes the order."""


def to_ask_about(belief: Belief, rules: Rules, now: float) -> Iterator[str]:
    """Yield the silent nodes of which only others could tell whether they live; none while the cell is frozen."""
    if frozen_by(belief) is not None or is_mass_silence(belief, rules):
        return
    before = now - SILENT_SHARE * rules.agent_lost_after_s
    for name, since in belief.silent.items():
        if since <= before and _nobody_else_says(belief.nodes[name]) and not is_rebooting(belief, name):
            yield name


def _nobody_else_says(node: NodeBelief) -> bool:
    """A word of peers that stands is renewed, whatever others say by now: it must not outlive what it was about."""
    has_word = bool(node.reached_by or node.unreached_by)
    return has_word or (node.responding is None and node.power not in {"on", "off"})


def peers_of(belief: Belief, name: str) -> dict[str, str]:
    """Return the nodes to ask about a silent one, with their addresses: of its leaf, else its rack, else any.

    Returns:
        At most MOST_ASKED, always the same for the same belief; none when the node has no address that can be tried.
    """
    subject = belief.nodes[name]
    chosen: dict[str, str] = {}
    if why_no_address(subject.facts.address):
        return chosen
    taken = {subject.facts.address}
    for candidate in _near_first(belief, subject):
        address = candidate.facts.address
        if candidate.name != name and address not in taken and _may_be_asked(candidate):
            chosen[candidate.name] = address
            taken.add(address)
        if len(chosen) == MOST_ASKED:
            break
    return chosen


def _near_first(belief: Belief, subject: NodeBelief) -> Iterator[NodeBelief]:
    near = (
        sorted(belief.residents.get((kind, place), ()))
        for kind in (LEAF, RACK)
        for place in subject.places.get(kind, ())
    )
    names = chain(chain.from_iterable(near), islice(belief.nodes, MOST_LOOKED_AT))
    return (belief.nodes[each] for each in dict.fromkeys(names))


def _may_be_asked(node: NodeBelief) -> bool:
    allowed = OrderAction.REACH in node.facts.orders_allowed
    return allowed and node.presence == "online" and not why_no_address(node.facts.address)


def judged(
    subject: str, peers: Mapping[str, str], answers: Mapping[str, Mapping[str, str]]
) -> tuple[list[str], list[str]]:
    """Return which peers reach the silent node, and which do not and reach one another, both ways.

    Args:
        subject: address of the silent node.
        peers: those that were asked → their addresses.
        answers: those that answered → address → the word for it.
    """
    reached = [peer for peer in peers if answers.get(peer, {}).get(subject) == REACHED]
    failing = [peer for peer in peers if answers.get(peer, {}).get(subject) == NOT_REACHED]

    def sees(peer: str, other: str) -> bool:
        return not is_of_this_host(peers[other]) and answers[peer].get(peers[other]) == REACHED

    def is_sound(peer: str) -> bool:
        return any(sees(peer, other) and sees(other, peer) for other in failing if other != peer)

    return reached, [peer for peer in failing if is_sound(peer)]
