"""What `ibnetdiscover` prints, and nodes found in it by their GUIDs.

ibnetdiscover.txt was printed by ibnetdiscover 44.0 (Debian 12) on a fabric that ibsim 0.10 made up: three hosts with an
adapter on each of two rails, managed leaves and a spine, and one switch that calls itself what all of its model do.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.topology.ib_fabric import parse
from controller.topology.source import Unreadable

PATH = Path("fabric.txt")
DUMP = (Path(__file__).parent / "ibnetdiscover.txt").read_text()
UNMANAGED = '"Quantum Mellanox Technologies"'


def leaves(*guids: str, text: str = DUMP) -> tuple[str, ...]:
    return parse(text, PATH).places_of("any", guids).get("leaf", ())


def test_a_node_hangs_on_the_leaf_of_each_of_its_adapters() -> None:
    assert leaves("a088c20300000100", "a088c20300000110") == ("leaf-1", "leaf-2")
    assert leaves("a088c20300000200", "ffffffffffffffff") == ("leaf-1",)
    assert leaves("a088c20300000300") == ("Quantum Mellanox Technologies",)
    assert () == leaves("0000000000000001") == leaves()


def test_a_port_is_known_by_its_own_guid_too() -> None:
    assert leaves("a088c20300000101") == ("leaf-1",)


def test_switches_of_the_same_description_are_told_apart_by_their_guids() -> None:
    twins = DUMP.replace('"MF0;leaf-1:MQM9700/U1" base', f"{UNMANAGED} base")
    assert leaves("a088c20300000100", text=twins) == ("switch 946dae0300a10001",)
    assert leaves("a088c20300000300", text=twins) == ("switch 946dae0300a10003",)


def test_a_chip_of_a_chassis_is_named_with_its_place() -> None:
    chassis = DUMP.replace('"MF0;leaf-1:MQM9700/U1" base', '"MF0;big-1:CS8500/L07/U1" base')
    assert leaves("a088c20300000100", text=chassis) == ("big-1/L07/U1",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "fabric.txt:1: no switch in it"),
        ("node,rack\n", "fabric.txt:1: no switch in it"),
        (DUMP[: DUMP.index("Ca\t")], "fabric.txt:1: no adapter in it"),
    ],
)
def test_what_is_no_fabric_is_refused(text: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        parse(text, PATH)


@given(st.integers(0, len(DUMP)), st.text(max_size=40), st.integers(0, len(DUMP)))
def test_any_damage_is_refused_or_gives_leaves(begin: int, noise: str, end: int) -> None:
    try:
        read = parse(DUMP[:begin] + noise + DUMP[end:], PATH)
    except Unreadable:
        return
    for guid in read.leaves:
        assert all(read.places_of("any", [guid])["leaf"])
