"""Slurm's `topology.conf`: the tree of switches, and the blocks, of its topology plugins.

The lowest switch that lists a node is its leaf, and the switches above that one are its spines; a block is a place of
its own kind, since sites use it for racks as well as for NVLink domains. Source: topology.conf(5), Slurm 24.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from controller.policy.places import LEAF
from controller.schedulers.hostlist import expand
from controller.topology.source import ByName, FileSource, Placing, Problem, Unreadable, told
from wire.places import why_no_place
from wire.topics import NAME

SPINE = "spine"
BLOCK = "block"
KEYS = frozenset({"switchname", "switches", "nodes", "linkspeed", "level", "blockname", "blocksizes"})
"""In any case of letters. `Level` is in what `scontrol show topology` prints, which is as good as the file."""

_PAIR = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|\S+)")


def source(path: Path, interval_s: float = 60.0) -> FileSource[ByName]:
    """Return the file as a source."""
    return FileSource("slurm", path, parse, interval_s)


@dataclass(frozen=True, slots=True)
class _Switch:
    """One line about a switch."""

    name: str
    line: int
    nodes: tuple[str, ...]
    below: tuple[str, ...]


@dataclass(slots=True)
class _Tree:
    """The lines so far, and what is wrong with them."""

    switches: dict[str, _Switch] = field(default_factory=dict)
    placing: Placing = field(default_factory=Placing)
    problems: list[Problem] = field(default_factory=list)

    def take(self, line: int, text: str) -> None:
        """Take one line in."""
        pairs = {key.lower(): value.strip('"') for key, value in _PAIR.findall(text)}
        unknown = sorted(pairs.keys() - KEYS)
        if unknown or not pairs:
            known = "SwitchName, Switches, Nodes, LinkSpeed, BlockName and BlockSizes"
            self.problems.append(Problem(line, unknown[0] if unknown else "", f"not understood; known are {known}"))
        elif name := pairs.get("switchname"):
            self._take_switch(_Switch(name, line, *(self._list(line, key, pairs) for key in ("nodes", "switches"))))
        elif name := pairs.get("blockname"):
            self._place(line, BLOCK, name, self._list(line, "nodes", pairs))

    def _take_switch(self, switch: _Switch) -> None:
        if switch.name in self.switches:
            wrong = f"{switch.name} is there already, in line {self.switches[switch.name].line}"
            self.problems.append(Problem(switch.line, "SwitchName", wrong))
            return
        self.switches[switch.name] = switch
        if not switch.below:
            self._place(switch.line, LEAF, switch.name, switch.nodes)

    def _place(self, line: int, kind: str, name: str, nodes: tuple[str, ...]) -> None:
        if flaw := why_no_place(name):
            self.problems.append(Problem(line, kind, flaw))
            return
        for node in nodes:
            if NAME.fullmatch(node):
                self.placing.put(node, kind, name)
            else:
                self.problems.append(Problem(line, "Nodes", f"{node!r} is not the name of a node"))
                return

    def _list(self, line: int, key: str, pairs: dict[str, str]) -> tuple[str, ...]:
        try:
            return tuple(expand(pairs.get(key, "")))
        except ValueError as error:
            self.problems.append(Problem(line, key.capitalize(), str(error)))
            return ()

    def climb(self) -> None:
        """Place the nodes of every leaf under the switches above it, however many those are."""
        for switch in self.switches.values():
            for name in switch.below:
                if name not in self.switches:
                    self.problems.append(Problem(switch.line, "Switches", f"there is no switch {name!r}"))
        above: dict[str, list[str]] = {}
        for switch in self.switches.values():
            for name in switch.below:
                above.setdefault(name, []).append(switch.name)
        for switch in self.switches.values():
            spines = _all_above(switch.name, above) if switch.nodes and not switch.below else []
            for spine in spines:
                self._place(switch.line, SPINE, spine, switch.nodes)


def parse(text: str, path: Path) -> ByName:
    """Return what the file says.

    Raises:
        Unreadable: with every problem, its line and key.
    """
    tree = _Tree()
    for line, joined in _lines(text):
        tree.take(line, joined)
    tree.climb()
    if tree.problems:
        raise Unreadable(told(path, tree.problems))
    return ByName(tree.placing.nodes)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that says something with its number; one that ends in a backslash goes on in the next."""
    begun, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].rstrip()
        first = first or number
        begun += line.removesuffix("\\") + " "
        if not line.endswith("\\"):
            if begun.strip():
                yield first, begun.strip()
            begun, first = "", 0
    if begun.strip():
        yield first, begun.strip()


def _all_above(name: str, above: dict[str, list[str]]) -> list[str]:
    """Return every switch above one, the nearest first; a circle is gone round once."""
    found: list[str] = []
    waiting = list(above.get(name, ()))
    while waiting:
        each = waiting.pop(0)
        if each not in found and each != name:
            found.append(each)
            waiting += above.get(each, ())
    return found
