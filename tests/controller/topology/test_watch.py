"""The watch: only what changed is told, the last good word stands, and what nobody says any more is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller import events
from controller.cell import Cell
from controller.events import NodePlaced, NodeSeen
from controller.policy.belief import Belief
from controller.policy.rules import Budget, Rules
from controller.sections.topology import NetBoxSection, TopologySection
from controller.store.sqlite import SqliteLog
from controller.topology import file, ib_fabric, slurm
from controller.topology.configured import sources_of
from controller.topology.source import Map, Source, Unreadable
from controller.topology.watch import TopologyWatch
from wire.messages import NodeFacts

DUMP = Path(__file__).parent / "ibnetdiscover.txt"


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[Cell]:
    """Run a cell on a real log."""
    log = SqliteLog(state / "events.sqlite")
    log.begin_term()
    cell = Cell(log, Rules((), Budget(nodes=1)))
    cell.recall()
    thinking = asyncio.create_task(cell.run())
    try:
        yield cell
    finally:
        thinking.cancel()
        await asyncio.gather(thinking, return_exceptions=True)
        log.close()


def watch_of(cell: Cell, *sources: Source) -> TopologyWatch:
    watch = TopologyWatch(cell, sources)
    cell.act = watch.note
    return watch


async def hear(cell: Cell, *nodes: str, facts: NodeFacts | None = None) -> None:
    await cell.submit([NodeSeen(node, "boot-1", facts or NodeFacts()) for node in nodes])


async def read(watch: TopologyWatch) -> None:
    for source in watch.sources:
        await watch.read(source)


async def until_taken_back(cell: Cell, node: str, source: str) -> None:
    async with asyncio.timeout(10):
        while True:
            if source not in cell.belief.nodes[node].claims:
                return
            await asyncio.sleep(0.01)


def told(cell: Cell) -> list[NodePlaced]:
    return [entry.event for entry in cell.log.read(after=0) if isinstance(entry.event, NodePlaced)]


async def test_nodes_are_placed_when_they_are_heard_of_and_only_what_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_text("node,rack\nn[1-3],r1\n")
    async with running(tmp_path) as cell:
        watch = watch_of(cell, file.source(path))
        await read(watch)
        await watch.place()
        assert told(cell) == []
        await hear(cell, "n1", "n9")
        await watch.place()
        await hear(cell, "n1", "n2")
        await watch.place()
        assert [NodePlaced("n1", {"rack": ["r1"]}, "file"), NodePlaced("n2", {"rack": ["r1"]}, "file")] == told(cell)
        path.write_text("node,rack\nn[1,3],r1\nn2,r22\n")
        await read(watch)
        await watch.place()
        assert [NodePlaced("n2", {"rack": ["r22"]}, "file")] == told(cell)[2:]
        assert {"n2"} == cell.belief.residents["rack", "r22"]


async def test_a_bad_file_keeps_what_it_said_last_and_is_logged_once(tmp_path: Path) -> None:
    path = tmp_path / "topology.conf"
    path.write_text("SwitchName=s0 Nodes=n1\n")
    async with running(tmp_path) as cell:
        watch = watch_of(cell, slurm.source(path))
        await hear(cell, "n1", "n2")
        await read(watch)
        path.write_text("SwitchName=s0 Nodes=n[1-\n")
        with capture_logs() as logged:
            await read(watch)
            await read(watch)
            await watch.place()
            assert cell.belief.nodes["n1"].places["leaf"] == ("s0",)
            assert watch.errors["slurm"].startswith(f"{path}:1: Nodes: hostlist")
            path.write_text("SwitchName=s10 Nodes=n1\n")
            await read(watch)
            await watch.place()
        assert watch.errors == {}
        assert cell.belief.nodes["n1"].places["leaf"] == ("s10",)
        assert [each["event"] for each in logged if each["event"].startswith("topology")] == [
            "topology.unreadable",
            "topology.readable",
        ]


class Broken:
    """A source with a defect."""

    name, interval_s = "slurm", 60.0

    async def read(self) -> Map:
        raise ZeroDivisionError("oops")


async def test_a_source_that_breaks_is_no_end_of_the_controller(tmp_path: Path) -> None:
    async with running(tmp_path) as cell:
        watch = watch_of(cell, Broken())
        await read(watch)
        assert watch.errors == {"slurm": "reading it crashed: ZeroDivisionError: oops"}


async def test_a_fabric_finds_nodes_by_the_guids_that_they_tell(tmp_path: Path) -> None:
    async with running(tmp_path) as cell:
        watch = watch_of(cell, ib_fabric.source(DUMP))
        await read(watch)
        await hear(cell, "n1")
        await watch.place()
        assert told(cell) == []
        await hear(cell, "n1", facts=NodeFacts(guids=["a088c20300000100", "a088c20300000110"]))
        await watch.place()
        assert [NodePlaced("n1", {"leaf": ["leaf-1", "leaf-2"]}, "ib_fabric")] == told(cell)


async def test_a_source_that_is_no_longer_configured_is_taken_back_but_not_one_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as cell:
        await hear(cell, "n1")
        await cell.submit(
            [
                NodePlaced("n1", {"rack": ["r1"]}, "file"),
                NodePlaced("n1", {"leaf": ["s1"]}, "slurm"),
                NodePlaced("n1", {"zone": ["z1"]}, "cmdb"),
            ]
        )
        watch = watch_of(cell, slurm.source(tmp_path / "nowhere.conf"))
        running_watch = asyncio.create_task(watch.run())
        await until_taken_back(cell, "n1", "file")
        running_watch.cancel()
        await asyncio.gather(running_watch, return_exceptions=True)
        assert cell.belief.nodes["n1"].places == {"leaf": ("s1",), "zone": ("z1",)}
        assert "cannot be read: No such file" in watch.errors["slurm"]


async def test_a_fleet_is_placed_in_batches_and_a_restart_tells_nothing_again(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_text("node,rack,leaf\n" + "".join(f"n{n},r{n // 8},leaf-{n // 32}\n" for n in range(2000)))
    async with running(tmp_path) as cell:
        watch = watch_of(cell, file.source(path))
        await hear(cell, *(f"n{number}" for number in range(2000)))
        await read(watch)
        await watch.place()
        assert len(told(cell)) == 2000
        assert {f"n{number}" for number in range(32, 64)} == cell.belief.residents["leaf", "leaf-1"]
        before: Belief = cell.belief
    async with running(tmp_path) as again:
        watch = watch_of(again, file.source(path))
        await read(watch)
        await watch.place()
        assert len(told(again)) == 2000
        assert before.residents == again.belief.residents


def test_every_configured_file_is_read_at_the_start_and_all_mistakes_are_told(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("node,rack\nn1\n")
    (tmp_path / "topology.conf").write_text("SwitchName=s0 Nodes=n1\n")
    section = TopologySection(
        file=tmp_path / "places.csv",
        slurm=tmp_path / "topology.conf",
        ib_fabric=tmp_path / "nowhere",
        netbox=NetBoxSection(url="https://netbox.example", token_file=tmp_path / "token"),
    )
    with pytest.raises(Unreadable) as caught:
        sources_of(section)
    first, second, third = str(caught.value).splitlines()
    assert f"{tmp_path}/places.csv:2: 1 cells, and there are 2 columns" == first
    assert f"{tmp_path}/nowhere: cannot be read: No such file or directory" == second
    assert f"{tmp_path}/token: topology.netbox.token_file cannot be read" in third


def test_sources_come_with_their_settings(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    section = TopologySection(netbox=NetBoxSection(url="https://netbox.example", token_file=tmp_path / "token"))
    (netbox,) = sources_of(section)
    assert (netbox.name, netbox.interval_s, getattr(netbox, "token", "")) == ("netbox", 600.0, "abc")
    assert sources_of(TopologySection()) == ()


def test_no_event_of_places_is_about_no_node() -> None:
    assert events.node_of(NodePlaced("n1", {}, "file")) == "n1"
