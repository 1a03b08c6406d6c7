"""The InfiniBand fabric, from a file into which `ibnetdiscover` wrote: adapters by their GUIDs, and the leaf of each.

A node is found in it by the GUIDs that its agent reads in sysfs, so no name has to match. Whoever may send management
packets writes the file, e.g. a timer on the host of the subnet manager. Source: ibnetdiscover(8).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.policy.places import LEAF, Places
from controller.topology.source import FileSource, Unreadable
from wire.places import why_no_place

_SWITCH = re.compile(r"Switch\s+\d+\s+\"S-([0-9a-f]{16})\"\s+#\s+\"([^\"]*)\"")
_ADAPTER = re.compile(r"Ca\s+\d+\s+\"H-([0-9a-f]{16})\"")
_PORT = re.compile(r"\[\d+\](?:\[[^\]]*\])?(?:\(([0-9a-f]{1,16})\))?\s+\"S-([0-9a-f]{16})\"")
_MANAGED = re.compile(r"MF0;([^:;]+):[^/]*((?:/\S+)?)")
"""What a managed switch of NVIDIA calls itself: `MF0;<name>:<model>/<chip>`."""

ONLY_CHIP = "/U1"


@dataclass(frozen=True, slots=True)
class ByGuid:
    """The fabric. `leaves`: GUID of an adapter or of its port → leaf switches that it is cabled to."""

    leaves: Mapping[str, frozenset[str]]

    def places_of(self, node: str, guids: Iterable[str]) -> Places:  # noqa: ARG002 - a map's whole question
        """Return the leaves of a node by its GUIDs."""
        found = sorted({leaf for guid in guids for leaf in self.leaves.get(guid, ())})
        return {LEAF: tuple(found)} if found else {}


def source(path: Path, interval_s: float = 60.0) -> FileSource[ByGuid]:
    """Return the file as a source."""
    return FileSource("ib_fabric", path, parse, interval_s)


def parse(text: str, path: Path) -> ByGuid:
    """Return what the file says.

    Raises:
        Unreadable: it is not what ibnetdiscover writes, or was not written to its end.
    """
    described: dict[str, str] = {}
    cables: dict[str, set[str]] = {}
    adapter = ""
    for line in text.splitlines():
        if switch := _SWITCH.match(line):
            described[switch[1]], adapter = switch[2], ""
        elif host := _ADAPTER.match(line):
            adapter = host[1]
        elif adapter and (port := _PORT.match(line)):
            for guid in (adapter, (port[1] or adapter).zfill(16)):
                cables.setdefault(guid, set()).add(port[2])
        elif not line.strip():
            adapter = ""
    if not described or not cables:
        missing = "switch" if not described else "adapter"
        raise Unreadable(f"{path}:1: no {missing} in it: it has to hold all that `ibnetdiscover` prints")
    names = _names(described)
    return ByGuid({guid: frozenset(names.get(each, each) for each in ends) for guid, ends in cables.items()})


def _names(described: Mapping[str, str]) -> dict[str, str]:
    """Return switch GUID → name. What several switches call themselves, as unmanaged ones do, names none of them."""
    names = {guid: _name(text) for guid, text in described.items()}
    count = Counter(names.values())
    return {
        guid: name if count[name] == 1 and not why_no_place(name) else f"switch {guid}" for guid, name in names.items()
    }


def _name(description: str) -> str:
    """Return the switch's own name; of a chassis, which holds several, with the place of the chip."""
    managed = _MANAGED.match(description)
    if managed is None:
        return description.strip()
    return managed[1] + (managed[2] if managed[2] not in ("", ONLY_CHIP) else "")
