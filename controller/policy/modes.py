"""How far an incident may go by itself: shadow, ask or act, by its playbook, its node's pools, and the settings.

A setting for the whole fleet holds back every playbook that no setting names. One for a playbook stands in place of
that and of what the file says, which is `ask` at the most where what it does cannot be undone. Of that and of the modes
of the node's pools the strictest holds, unless a setting names both the playbook and one of the pools: that has the
last word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.policy.belief import Belief
from controller.policy.places import POOL
from controller.policy.playbook import Mode, Playbook
from controller.policy.rules import Rules

FLEET: Final = "fleet"
"""The key of the setting for every playbook that no setting names."""

_STRICTNESS = {Mode.SHADOW: 0, Mode.ASK: 1, Mode.ACT: 2}

Said = tuple[Mode, str]
"""A mode and who says so."""


def mode_of(belief: Belief, rules: Rules, playbook: Playbook, node: str) -> Said:
    """Return how far an incident of this playbook on this node may go, and who says so."""
    pools = belief.nodes[node].places.get(POOL, ()) if node in belief.nodes else ()
    named = [(rules.modes[both], f"setting {both}") for both in _both(playbook, pools) if both in rules.modes]
    return _strictest(named or list(_said(rules, playbook, pools)))


def _both(playbook: Playbook, pools: tuple[str, ...]) -> list[str]:
    return [f"{playbook.name}@{pool}" for pool in pools]


def _said(rules: Rules, playbook: Playbook, pools: tuple[str, ...]) -> Iterator[Said]:
    own = f"playbook.{playbook.name}"
    if own in rules.modes:
        yield rules.modes[own], f"setting {own}"
    else:
        yield playbook.mode, "its playbook"
        if not playbook.reversible:
            yield Mode.ASK, "its playbook, because it cannot be undone"
        if FLEET in rules.modes:
            yield rules.modes[FLEET], f"setting {FLEET}"
    for key in (f"pool.{pool}" for pool in pools):
        if key in rules.modes:
            yield rules.modes[key], f"setting {key}"


def _strictest(said: list[Said]) -> Said:
    return min(said, key=lambda each: _STRICTNESS[each[0]])
