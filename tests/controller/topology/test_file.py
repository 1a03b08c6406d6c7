"""The operator's CSV: what it says, every mistake with its line and column, and any text at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.topology.file import parse, source
from controller.topology.source import Unreadable
from wire.places import why_no_kind, why_no_place

PATH = Path("places.csv")

GOOD = """\ufeff# written by hand
node,rack,pool,leaf
gpu[001-003],r1,train,
"gpu[001,003]",,,leaf-1
gpu[002,005],,,leaf-1|leaf-2
gpu004 , r 2 ,"train, big",leaf-3

login,,,
"""


def test_lines_about_a_node_add_up_and_hostlists_are_spelt_out() -> None:
    read = parse(GOOD, PATH)
    assert read.places_of("gpu001") == {"rack": ("r1",), "pool": ("train",), "leaf": ("leaf-1",)}
    assert read.places_of("gpu002") == {"rack": ("r1",), "pool": ("train",), "leaf": ("leaf-1", "leaf-2")}
    assert read.places_of("gpu004") == {"rack": ("r 2",), "pool": ("train, big",), "leaf": ("leaf-3",)}
    assert read.places_of("gpu005") == {"leaf": ("leaf-1", "leaf-2")}
    assert read.places_of("login") == {} == read.places_of("gpu006")


def test_a_node_with_a_domain_is_found_by_its_short_name_unless_it_has_a_line_of_its_own() -> None:
    read = parse("node;rack\ngpu1;r1\ngpu1.b.example;r2\n", PATH)
    assert read.places_of("gpu1.a.example") == {"rack": ("r1",)}
    assert read.places_of("gpu1.b.example") == {"rack": ("r2",)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "places.csv:1: the file is empty"),
        ("# nothing\n\n", "places.csv:1: the file is empty"),
        ("name,rack\n", "places.csv:1: node: no column of that name; there are name, rack"),
        ("node,Rack\n", "places.csv:1: Rack: 'Rack' is not a kind of place"),
        ("node,job\n", "places.csv:1: job: 'job' cannot be set"),
        ("node,rack,rack\n", "places.csv:1: rack: the column is there twice"),
        ("node,rack\ngpu1\n", "places.csv:2: 1 cells, and there are 2 columns"),
        ("node,rack\ngpu[1-,r1\n", "places.csv:2: node: hostlist"),
        ("node,rack\n,r1\n", "places.csv:2: node: '' is not the name of a node"),
        ("node,rack\ng$,r1\n", "places.csv:2: node: 'g$' is not the name of a node"),
        ("node,rack\n\ngpu1,r1\ngpu[1-2],r2\n", "places.csv:4: rack: line 3 has placed gpu1 already"),
        ("node,rack\ngpu1," + "r" * 200_000, "places.csv:2: not a line of CSV: field larger than field limit"),
        ("node,rack\ngpu1,r1|\n", "places.csv:2: rack: '' is not a name"),
        ("node,rack\ngpu1,r\x071\n", "places.csv:2: rack: 'r\\x071' is not a name that can be shown"),
    ],
)
def test_each_mistake_is_told_with_line_and_column(text: str, told: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text, PATH)
    assert str(caught.value).startswith(told)


def test_all_mistakes_are_told_at_once_but_not_a_thousand() -> None:
    with pytest.raises(Unreadable) as caught:
        parse("node,rack\n" + "gpu1\n" * 1000, PATH)
    lines = str(caught.value).splitlines()
    assert (lines[0], lines[-1]) == ("places.csv:2: 1 cells, and there are 2 columns", "places.csv: and 980 more")
    assert len(lines) == 21


async def test_a_file_is_parsed_anew_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_text("node,rack\ngpu1,r1\n")
    asked = source(path)
    first = await asked.read()
    assert await asked.read() is first
    path.write_text("node,rack\ngpu1,r22\n")
    assert (await asked.read()).places_of("gpu1") == {"rack": ("r22",)}
    path.unlink()
    with pytest.raises(Unreadable, match=r"places\.csv: cannot be read: No such file"):
        await asked.read()
    path.write_bytes(b"node,rack\n\xff")
    with pytest.raises(Unreadable, match="not UTF-8"):
        await asked.read()


CELLS = st.sampled_from(["node", "rack", "leaf", "gpu1", "gpu[1-3]", "r1", "a|b", '"', "#", "", " ", "job", "["])
LINES = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=5).map("\n".join)


@given(st.text() | LINES)
@example('node,rack\n"gpu1\n",r1')
@example("node,rack\ngpu1,r\x00")
def test_any_text_is_refused_or_gives_places_that_can_be(text: str) -> None:
    try:
        read = parse(text, PATH)
    except Unreadable as error:
        assert str(error).startswith("places.csv:")
        return
    for places in read.nodes.values():
        assert not any(map(why_no_kind, places))
        assert not any(why_no_place(name) for names in places.values() for name in names)
