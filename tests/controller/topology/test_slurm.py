"""Slurm's topology.conf, tree and blocks.

TREE was taken by slurmctld 22.05 as it stands, and SHOWN is what its `scontrol show topology` then printed; BLOCKS has
the syntax of the example in topology.conf(5) of Slurm 24.11.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.topology.slurm import parse, source
from controller.topology.source import Unreadable

PATH = Path("topology.conf")

TREE = """\
# Switch Configuration
SwitchName=s0 Nodes=tux[0-1]
switchname=s1   NODES="tux[2-3]" LinkSpeed=900  # as written by slurmibtopology
SwitchName=s2 \\
    Nodes=tux4,tux5
SwitchName=core0 Switches=s[0-1]
SwitchName=core1 Switches=s2
SwitchName=top Switches=core[0-1]
"""
SHOWN = """\
SwitchName=s0 Level=0 LinkSpeed=1 Nodes=tux[0-1]
SwitchName=s1 Level=0 LinkSpeed=900 Nodes=tux[2-3]
SwitchName=s2 Level=0 LinkSpeed=1 Nodes=tux4,tux5
SwitchName=core0 Level=1 LinkSpeed=1 Nodes=tux[0-3] Switches=s[0-1]
SwitchName=core1 Level=1 LinkSpeed=1 Nodes=tux[4-5] Switches=s2
SwitchName=top Level=2 LinkSpeed=1 Nodes=tux[0-5] Switches=core[0-1]
"""
BLOCKS = """\
BlockName=block01 Nodes=tux[01-18]
BlockName=block02 Nodes=tux[19-36]
BlockSizes=18,36
"""


def test_the_switch_that_lists_a_node_is_its_leaf_and_those_above_are_its_spines() -> None:
    read = parse(TREE, PATH)
    assert read.places_of("tux3") == {"leaf": ("s1",), "spine": ("core0", "top")}
    assert read.places_of("tux5") == {"leaf": ("s2",), "spine": ("core1", "top")}
    assert read.places_of("tux6") == {}


def test_slurm_and_we_understand_the_file_alike() -> None:
    assert parse(SHOWN, PATH) == parse(TREE, PATH)


def test_a_block_is_a_place_of_its_own_kind() -> None:
    assert parse(BLOCKS, PATH).places_of("tux19") == {"block": ("block02",)}


def test_a_flat_network_has_no_places() -> None:
    assert parse("# nothing yet\n", PATH).nodes == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SwitchName=s0 Nodes=tux[0-\n", "topology.conf:1: Nodes: hostlist"),
        ("\nSwitchName=s0 Node=tux0\n", "topology.conf:2: node: not understood; known are SwitchName"),
        ("s0 tux0\n", "topology.conf:1: not understood"),
        ("SwitchName=s0 Nodes=a\nSwitchName=s0 Nodes=b\n", "topology.conf:2: SwitchName: s0 is there already, in line"),
        ("SwitchName=s0 Switches=s9\n", "topology.conf:1: Switches: there is no switch 's9'"),
        ("SwitchName=s0 Nodes=a$\n", "topology.conf:1: Nodes: 'a$' is not the name of a node"),
    ],
)
def test_each_mistake_is_told_with_line_and_key(text: str, told: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text, PATH)
    assert str(caught.value).startswith(told)


def test_switches_in_a_circle_end() -> None:
    read = parse("SwitchName=a Switches=b\nSwitchName=b Switches=a,leaf\nSwitchName=leaf Nodes=n1\n", PATH)
    assert read.places_of("n1") == {"leaf": ("leaf",), "spine": ("b", "a")}


async def test_it_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "topology.conf").write_text(TREE)
    asked = source(tmp_path / "topology.conf")
    assert (asked.name, (await asked.read()).places_of("tux0")["leaf"]) == ("slurm", ("s0",))


PIECES = st.sampled_from(
    ["SwitchName=", "Switches=", "Nodes=", "BlockName=", "s0", "s1", "n[1-2]", "[", "\\", "\n", " ", "#", '"', "=", "a"]
)


@given(st.text() | st.lists(PIECES, max_size=24).map("".join))
def test_any_text_is_refused_or_gives_places(text: str) -> None:
    try:
        read = parse(text, PATH)
    except Unreadable as error:
        assert str(error).startswith("topology.conf:")
        return
    assert all(names for places in read.nodes.values() for names in places.values())
