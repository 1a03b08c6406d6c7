"""The switch that a simulated machine is cabled to, as the `lldpcli` of an lldpd tells it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from agent.simulation.states import replace_file

INTERFACE: Final = "eno1"
NODES_PER_LEAF: Final = 4
"""Source: our choice: eight nodes hang on two leaves, and three of one leaf are enough for an incident of its own."""

PROGRAM_MODE: Final = 0o755
_NUMBER = re.compile(r"(\d{1,9})\D*", re.ASCII)


def write_neighbours(directory: Path, sysfs: Path, programs: Path, node: str) -> None:
    """Put the port and the program into the machine.

    Args:
        directory: of the machine.
        sysfs, programs: folders in it.
        node: its name, whose number says which leaf it hangs on.
    """
    replace_file(sysfs / "class/net" / INTERFACE / "operstate", b"up\n", scratch=directory)
    replace_file(programs / "lldpcli", f"#!/bin/sh\necho '{_neighbours(node)}'\n".encode(), scratch=directory)
    (programs / "lldpcli").chmod(PROGRAM_MODE)


def leaf_of(node: str) -> str:
    """Return the leaf switch of a node: n1 to n4 hang on leaf-1."""
    return f"leaf-{_group(node)}"


def rack_of(node: str) -> str:
    """Return the rack of a node, one for each leaf; only whoever sets the agent up can tell it."""
    return f"rack-{_group(node)}"


def _group(node: str) -> int:
    numbers = _NUMBER.findall(node)
    return max(0, int(numbers[-1]) - 1) // NODES_PER_LEAF + 1 if numbers else 1


def _neighbours(node: str) -> str:
    chassis = {"name": [{"value": leaf_of(node)}], "capability": [{"type": "Bridge", "enabled": True}]}
    return json.dumps({"lldp": [{"interface": [{"name": INTERFACE, "via": "LLDP", "chassis": [chassis]}]}]})
