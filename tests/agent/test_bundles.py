"""Bundles on their way: a real process sends them to a real controller's port, over connections that break."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bundles.keeper import LEAST_S, MOST_WAITING
from agent.bundles.plan import BUNDLE, PACKED, PLAN, Packed
from agent.bundles.send import Pace, Sending, _seconds, try_once
from cli.ports import free_port
from controller.evidence.choosing import Counter
from controller.evidence.desk import Asked
from controller.evidence.receiving import Receiver
from controller.sections.evidence import EvidenceSection
from tests.support.bundles import CONTENT, Node
from tests.support.certificates import write_certificate
from tests.support.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.eventually import eventually
from tests.support.open_cell import OpenCell, off_the_bus, open_cell
from wire.evidence import Grant, grant_in, parameter_of
from wire.messages import EvidenceEnded
from wire.orders import Order, OrderAction

SECTION = EvidenceSection(where="controller", keep_free_bytes=0)
TEXTS = {"status.json": "{}", "kernel-log.txt": "NVRM: Xid (PCI:0000:3b:00): 79"}


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell that takes bundles, with an open incident on n1."""
    (tmp_path / "cell").mkdir()
    async with open_cell(tmp_path / "cell", evidence=SECTION) as opened:
        await opened.add_nodes("n1")
        opened.scheduler.jobs["n1"] = ("17",)
        await opened.nodes.find("n1", off_the_bus())
        await opened.until_step("n1", "drain")
        yield opened


@pytest.fixture
async def proxy(cell: OpenCell) -> AsyncIterator[CuttingProxy]:
    async with cutting_proxy(urlsplit(cell.url).port or 0) as between:
        yield between


@pytest.fixture
async def node(tmp_path: Path, cell: OpenCell) -> AsyncIterator[Node]:
    made = Node(tmp_path, cell.clock)
    yield made
    await made.keeper.close()


async def grant_by(cell: OpenCell, url: str = "", number: int = 1) -> Grant:
    assert cell.uploads is not None
    order = f"inc-000001/collect/{number}"
    grant = grant_in(await cell.uploads.parameters_for(Asked(order, "n1", "inc-000001")))
    assert grant is not None
    return msgspec.structs.replace(grant, url=url or grant.url)


def order_with(cell: OpenCell, parameters: dict[str, str], *, limit_s: float = 300.0) -> Order:
    now = cell.clock.now
    return Order(
        "inc-000001/collect/1",
        "n1",
        OrderAction.COLLECT,
        now,
        now + limit_s,
        1,
        incident_id="inc-000001",
        parameters={"since": f"{now:.0f}", **parameters},
    )


def kept(cell: OpenCell, grant: Grant) -> bytes:
    """Return a bundle as the controller has it."""
    assert cell.uploads is not None
    return cell.uploads.shelf.path(grant.upload).read_bytes()


def state(cell: OpenCell, grant: Grant) -> str:
    bundle = cell.cell.belief.incidents["inc-000001"].bundles.get(grant.upload)
    return bundle.state if bundle is not None else ""


async def test_an_order_waits_for_the_gathering_and_the_bundle_arrives(
    cell: OpenCell, node: Node, tmp_path: Path
) -> None:
    grant = await grant_by(cell)
    node.keeper.inventory = tmp_path / "inventory.toml"
    node.keeper.inventory.write_text("schema = 1\n")
    because = await node.keeper.gather(order_with(cell, parameter_of(grant)), TEXTS)
    assert because.startswith("a bundle of 3 files, "), because
    await eventually("it was sent", lambda: bool(node.said))
    ended = node.said[0]
    assert (ended.outcome, ended.incident_id, ended.upload) == ("sent", "inc-000001", grant.upload)
    assert hashlib.sha256(kept(cell, grant)).hexdigest() == ended.sha256
    with tarfile.open(fileobj=io.BytesIO(kept(cell, grant))) as archive:
        manifest = archive.extractfile("MANIFEST.json")
        assert manifest is not None
        origin = json.load(manifest)["origin"]
        assert "inventory.toml" in archive.getnames()
    assert (origin["node"], origin["incident_id"], origin["since"]) == ("n1", "inc-000001", cell.clock.now // 1)
    assert state(cell, grant) == "stored"
    assert list(node.folder.iterdir()) == []


async def test_a_connection_that_breaks_again_and_again_costs_only_time(
    cell: OpenCell, node: Node, proxy: CuttingProxy
) -> None:
    proxy.budgets += [500, 600_000, 100, 900_000]
    grant = await grant_by(cell, proxy.url)
    node.put(grant)
    node.keeper.start()
    await eventually("it was sent", lambda: bool(node.said), limit_s=30.0)
    assert [each.outcome for each in node.said] == ["sent"]
    assert (kept(cell, grant) == CONTENT, proxy.connections) == (True, 5)
    assert proxy.passed < len(CONTENT) + 200_000, "what had come was sent again"


async def test_an_agent_that_stops_in_the_middle_goes_on_where_it_was(
    cell: OpenCell, node: Node, proxy: CuttingProxy, tmp_path: Path
) -> None:
    slow = Node(tmp_path / "slow", cell.clock, rate_bytes_per_s=4 << 20)
    grant = await grant_by(cell, proxy.url)
    slow.put(grant)
    slow.keeper.start()
    await eventually("it is on its way", lambda: proxy.passed > 1 << 20)
    await slow.keeper.close()
    assert slow.said == []
    slow.again().start()
    await eventually("it was sent", lambda: bool(slow.said))
    assert kept(cell, grant) == CONTENT
    assert proxy.passed < len(CONTENT) + (1 << 20)
    await slow.keeper.close()
    assert node.said == []


async def test_a_bundle_that_was_never_finished_is_thrown_away_at_the_start(cell: OpenCell, node: Node) -> None:
    grant = await grant_by(cell)
    folder = node.put(grant)
    (folder / PACKED).unlink()
    (node.folder / "of-somebody-else").mkdir()
    node.keeper.start()
    assert [path.name for path in node.folder.iterdir()] == ["of-somebody-else"]
    assert node.said == []


async def test_a_bundle_that_the_disk_damaged_keeps_no_other_waiting(cell: OpenCell, node: Node) -> None:
    """Whole by its name, with what is no text in it; it is the oldest."""
    damaged = node.keeper.folder / ("0" * 32)
    damaged.mkdir(parents=True)
    (damaged / PACKED).write_bytes(b'{"sha256":"\xff\xff"}')
    (damaged / PLAN).write_bytes(b'{"grant":{"upload":"\xff\xff"}}')
    os.utime(damaged / PACKED, (1.0, 1.0))
    grant = await grant_by(cell)
    await node.keeper.gather(order_with(cell, parameter_of(grant)), TEXTS)
    await eventually("the other one is here", lambda: state(cell, grant) == "stored")
    assert not damaged.exists()


async def test_what_cannot_be_sent_before_its_grant_expires_is_given_up_and_said(
    cell: OpenCell, node: Node, proxy: CuttingProxy
) -> None:
    proxy.closed = True
    node.put(await grant_by(cell, proxy.url))
    node.keeper.start()
    await eventually("it was tried twice", lambda: proxy.connections > 1)
    cell.clock.now += SECTION.valid_s + 1
    await eventually("it was given up", lambda: bool(node.said))
    assert (node.said[0].outcome, list(node.folder.iterdir())) == ("failed", [])
    assert "127.0.0.1" in node.said[0].because


async def test_a_controller_that_refuses_is_believed(cell: OpenCell, node: Node) -> None:
    grant = await grant_by(cell)
    node.put(msgspec.structs.replace(grant, token="forged.token"))
    node.keeper.start()
    await eventually("it was given up", lambda: bool(node.said))
    assert (node.said[0].outcome, node.said[0].because.partition(":")[0]) == ("failed", "HTTP 401")


async def test_one_controller_without_room_is_asked_again(cell: OpenCell, node: Node) -> None:
    assert cell.uploads is not None
    shelf = cell.uploads.shelf
    shelf.quota = type(shelf.quota)(1, 1, 0)
    grant = await grant_by(cell)
    node.put(grant)
    node.keeper.start()
    await eventually("the timeline says it", lambda: state(cell, grant) == "delayed")
    shelf.quota = type(shelf.quota)(1 << 30, 1 << 30, 0)
    await eventually("it was sent", lambda: bool(node.said))
    assert (node.said[0].outcome, state(cell, grant)) == ("sent", "stored")


async def test_the_oldest_that_waits_makes_place(cell: OpenCell, node: Node) -> None:
    grants = [await grant_by(cell, "http://127.0.0.1:9", number) for number in range(1, MOST_WAITING + 2)]
    for age, grant in enumerate(grants):
        folder = node.put(grant)
        os.utime(folder / PACKED, (age, age))
    newest = await grant_by(cell, "http://127.0.0.1:9", 99)
    await node.keeper.gather(order_with(cell, parameter_of(newest)), TEXTS)
    assert {each.upload for each in node.said} == {grant.upload for grant in grants[:2]}
    assert {each.outcome for each in node.said} == {"failed"}
    assert {path.name for path in node.folder.iterdir()} == {newest.upload, *(grant.upload for grant in grants[2:])}


@pytest.mark.parametrize(
    ("parameters", "limit_s", "said"),
    [
        ({}, 300.0, ""),
        ({"evidence": "{"}, 300.0, "no bundle: the order's leave to send evidence cannot be read: "),
        ({"evidence": '{"upload":"../../x","where":"controller","most_bytes":1,"expires_at":1}'}, 300.0, "no bundle: "),
        (parameter_of(Grant("0" * 32, "controller", 1 << 30, 2e9)), LEAST_S, "no bundle: the order leaves 20 s"),
    ],
)
async def test_an_order_without_leave_or_time_is_as_before(
    cell: OpenCell, node: Node, parameters: dict[str, str], limit_s: float, said: str
) -> None:
    because = await node.keeper.gather(order_with(cell, parameters, limit_s=limit_s), TEXTS)
    assert because.startswith(said) and bool(because) == bool(said)
    assert not node.folder.exists()


async def test_a_gathering_that_fails_is_said_and_leaves_nothing(cell: OpenCell, node: Node) -> None:
    node.keeper.gather_command = ("/bin/sh", "-c", "echo the disk is broken; exit 74")
    because = await node.keeper.gather(order_with(cell, parameter_of(await grant_by(cell))), TEXTS)
    assert because == "no bundle: the disk is broken"
    assert list(node.folder.iterdir()) == []


async def test_what_became_of_a_bundle_is_said_even_where_that_fails_at_first(cell: OpenCell, node: Node) -> None:
    grant, said = await grant_by(cell), list[EvidenceEnded]()

    def tell(ended: EvidenceEnded) -> None:
        said.append(ended)
        if len(said) < 3:
            raise OSError("the disk is full")

    node.put(grant)
    node.keeper.tell = tell
    node.keeper.start()
    await eventually("it was said", lambda: len(said) == 3 and not any(node.folder.iterdir()))
    assert {each.outcome for each in said} == {"sent"}
    assert kept(cell, grant) == CONTENT


async def test_a_grant_that_no_request_can_carry_is_refused(cell: OpenCell, node: Node) -> None:
    for broken in ({"token": "a\r\nHost: elsewhere"}, {"url": "http://127.0.0.1:many"}, {"url": "http://["}):
        grant = msgspec.structs.replace(await grant_by(cell), **broken)
        folder = node.put(grant, b"x")
        assert (await asyncio.to_thread(try_once, folder, rate=1 << 20, ca_file="")).outcome == "failed"
        shutil.rmtree(folder)


class Confused(http.server.BaseHTTPRequestHandler):
    """A server that never gets further."""

    answers: ClassVar[dict[str, tuple[int, dict[str, str]]]] = {}

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers = self.answers[self.command]
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    do_POST = do_PATCH = _answer  # noqa: N815 - the names that the library looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def confused() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Confused)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("post", "patch", "outcome", "because"),
    [
        ((201, {"Upload-Offset": "0"}), (204, {"Upload-Offset": "0"}), "failed", "it was at 0, and is at 0 of 9"),
        ((201, {"Upload-Offset": "0"}), (204, {"Upload-Offset": "10"}), "failed", "it was at 0, and is at 10 of 9"),
        ((201, {"Upload-Offset": "nine"}), (204, {}), "failed", "Upload-Offset is 'nine'"),
        ((201, {}), (204, {}), "failed", "what answers is no controller"),
        ((200, {}), (204, {}), "failed", "HTTP 200"),
        ((301, {"Location": "http://elsewhere"}), (204, {}), "failed", "HTTP 301"),
        ((503, {"Retry-After": "7"}), (204, {}), "later", "HTTP 503"),
        ((201, {"Upload-Offset": "0"}), (507, {}), "later", "HTTP 507"),
        ((201, {"Upload-Offset": "0"}), (404, {}), "later", "HTTP 404"),
        ((201, {"Upload-Offset": "0"}), (460, {}), "later", "HTTP 460"),
    ],
)
def test_what_answers_strangely_is_not_believed(
    tmp_path: Path, confused: str, post: Any, patch: Any, outcome: str, because: str
) -> None:
    Confused.answers = {"POST": post, "PATCH": patch}
    node = Node(tmp_path, lambda: 1_790_000_000.0)
    folder = node.put(Grant("0" * 32, "controller", 1 << 20, 2e9, url=confused, token="t"), b"nine byte")
    said = try_once(folder, rate=1 << 20, ca_file="")
    assert (said.outcome, because in said.because) == (outcome, True), said
    assert said.after_s == (7.0 if post[0] == 503 else 0.0)


async def test_what_was_damaged_on_its_way_is_sent_again_from_its_beginning(
    cell: OpenCell, node: Node, proxy: CuttingProxy
) -> None:
    assert cell.uploads is not None
    proxy.budgets += [700_000]
    grant = await grant_by(cell, proxy.url)
    uploads, shelf = cell.uploads, cell.uploads.shelf
    folder = node.put(grant)
    assert (await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")).outcome == "later"
    await eventually("what came is written", lambda: shelf.offset(grant.upload) > 0 and not uploads._busy)
    partial = shelf.folder / "partial" / f"{grant.upload}.tar.gz"
    partial.write_bytes(bytes(partial.stat().st_size))
    assert (await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")).outcome == "later"
    assert (await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")).outcome == "sent"
    assert kept(cell, grant) == CONTENT


async def test_what_was_damaged_on_the_node_is_given_up(cell: OpenCell, node: Node) -> None:
    folder = node.put(await grant_by(cell))
    (folder / BUNDLE).write_bytes(bytes(len(CONTENT)))
    said = await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")
    assert (said.outcome, said.because.startswith("the bundle was damaged on this node")) == ("failed", True)


async def test_a_port_that_speaks_tls_is_believed_by_its_certificate_alone(
    cell: OpenCell, node: Node, tmp_path: Path
) -> None:
    assert cell.uploads is not None
    server, stranger = write_certificate(tmp_path, "server"), write_certificate(tmp_path, "stranger")
    port = free_port()
    section = SECTION.model_copy(
        update={"port": port, "certificate": server, "certificate_key": tmp_path / "server.key"}
    )
    runner = await Counter(cell.uploads, Receiver(cell.uploads, lambda: None), section).listen()
    assert runner is not None
    grant = await grant_by(cell, f"https://127.0.0.1:{port}")
    folder = node.put(grant)
    refused = await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file=str(stranger))
    assert (refused.outcome, "certificate verify failed" in refused.because) == ("later", True)
    said = await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file=str(server))
    assert (said.outcome, kept(cell, grant) == CONTENT) == ("sent", True)
    await runner.cleanup()


def test_it_is_sent_no_faster_than_it_was_told_to(tmp_path: Path) -> None:
    slept: list[float] = []
    pace = Pace(1 << 20, monotonic=lambda: sum(slept), sleep=slept.append)
    folder = Node(tmp_path, lambda: 0.0).put(Grant("0" * 32, "controller", 1 << 22, 2e9), CONTENT)
    sending = Sending(folder, Grant("0" * 32, "controller", 1 << 22, 2e9), Packed(0, "", 0), pace=pace)
    with (folder / BUNDLE).open("rb") as file:
        assert b"".join(sending._piece(file, 0, len(CONTENT))) == CONTENT
    assert sum(slept) == pytest.approx(3.0, rel=0.05)


@given(text=st.text())
def test_any_retry_after_is_seconds_or_nothing(text: str) -> None:
    assert 0.0 <= _seconds(text) <= 3_600.0
