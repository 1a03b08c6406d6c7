"""Bundles as a controller takes them: real HTTP, a real folder, and everything a node can get wrong or try."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import socket
import subprocess
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tusclient.client import TusClient

from cli.ports import free_port
from controller.events import EvidenceRemoved, EvidenceStored
from controller.evidence.choosing import Counter
from controller.evidence.desk import Asked, ControllerEvidence
from controller.evidence.receiving import Receiver
from controller.evidence.shelf import Quota, Shelf
from controller.rma import bundle_of
from controller.sections.evidence import EvidenceSection
from tests.cli.conftest import run_cli
from tests.support.eventually import eventually
from tests.support.open_cell import OpenCell, off_the_bus, open_cell
from wire import messages
from wire.evidence import UPLOADS, BadUpload, Claims, Grant, grant_in, metadata_of, parse_checksum, parse_length
from wire.grants import PURPOSE, sign_claims, upload_of, verify_token
from wire.messages import Refused
from wire.orders import OrderAction

BUNDLE = bytes(range(256)) * 4_096
"""1 MiB."""

SMALL = EvidenceSection(
    where="controller",
    bundle_bytes=4 << 20,
    node_bytes=5 << 19,
    total_bytes=4 << 20,
    keep_free_bytes=0,
    at_once=2,
    valid_s=3_600,
)


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell that takes bundles, with an open incident on n1."""
    async with open_cell(tmp_path, evidence=SMALL) as opened:
        await opened.add_nodes("n1", "n2")
        opened.scheduler.jobs["n1"] = ("17",)
        await opened.nodes.find("n1", off_the_bus())
        await opened.until_step("n1", "drain")
        yield opened


@pytest.fixture
async def http(cell: OpenCell) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cell.url) as session:
        yield session


def desk_of(cell: OpenCell) -> ControllerEvidence:
    assert cell.uploads is not None
    return cell.uploads


@contextlib.asynccontextmanager
async def port_of(cell: OpenCell, *, idle_limit_s: float = 20.0, piece_limit_s: float = 60.0) -> AsyncIterator[str]:
    """Give the address of a port that takes bundles alone."""
    receiver = Receiver(desk_of(cell), cell.front.check_leading, idle_limit_s=idle_limit_s, piece_limit_s=piece_limit_s)
    port = free_port()
    counter = Counter(desk_of(cell), receiver, SMALL.model_copy(update={"port": port}))
    assert counter.on_api_port() is None
    runner = await counter.listen()
    assert runner is not None
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def grant_for(cell: OpenCell, order: str = "inc-000001/collect/1", node: str = "n1") -> Grant:
    parameters = await desk_of(cell).parameters_for(Asked(order, node, order.partition("/")[0]))
    grant = grant_in(parameters)
    assert grant is not None
    return grant


def headers(grant: Grant, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {grant.token}", "Tus-Resumable": "1.0.0", **more}


async def announce(http: aiohttp.ClientSession, grant: Grant, bundle: bytes = BUNDLE, **more: str) -> tuple[int, Any]:
    announced = {"Upload-Length": str(len(bundle)), "Upload-Metadata": metadata_of(hashlib.sha256(bundle).hexdigest())}
    async with http.post(UPLOADS, headers=headers(grant, **{**announced, **more})) as answer:
        return answer.status, answer.headers.get("Upload-Offset") or (await answer.json())["error"]


async def patch(
    http: aiohttp.ClientSession, grant: Grant, offset: int | str, piece: bytes, **more: str
) -> tuple[int, str]:
    ours = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **more}
    async with http.patch(f"{UPLOADS}/{grant.upload}", data=piece, headers=headers(grant, **ours)) as answer:
        return answer.status, answer.headers.get("Upload-Offset", "")


async def upload(http: aiohttp.ClientSession, grant: Grant, bundle: bytes = BUNDLE) -> None:
    assert await announce(http, grant, bundle) == (201, "0")
    assert await patch(http, grant, 0, bundle) == (204, str(len(bundle)))


def stored(cell: OpenCell) -> dict[str, str]:
    """Return upload → state of every bundle of the cell."""
    bundles = (each for incident in cell.cell.belief.incidents.values() for each in incident.bundles.values())
    return {bundle.upload: bundle.state for bundle in bundles}


async def test_a_bundle_comes_in_pieces_and_is_kept_told_and_given(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant = await grant_for(cell)
    assert await announce(http, grant) == (201, "0")
    assert await patch(http, grant, 0, BUNDLE[:700_000]) == (204, "700000")
    async with http.head(f"{UPLOADS}/{grant.upload}", headers=headers(grant)) as answer:
        assert (answer.status, answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == (
            200,
            "700000",
            str(len(BUNDLE)),
        )
    assert await patch(http, grant, 700_000, BUNDLE[700_000:]) == (204, str(len(BUNDLE)))

    incident = cell.cell.belief.incidents["inc-000001"]
    bundle = incident.bundles[grant.upload]
    assert (bundle.state, bundle.size_bytes, bundle.sha256) == (
        "stored",
        len(BUNDLE),
        hashlib.sha256(BUNDLE).hexdigest(),
    )
    assert bundle.url == f"{cell.url}{UPLOADS}/{grant.upload}"
    async with http.get(f"/api/v1/incidents/{incident.id}") as answer:
        shown = await answer.json()
    assert [each["state"] for each in shown["bundles"]] == ["stored"]
    assert any(entry["kind"] == "evidence.stored" for entry in shown["timeline"])
    async with http.get(f"/incidents/{incident.id}") as answer:
        assert f'href="{UPLOADS}/{grant.upload}"' in await answer.text()
    async with http.get(urlsplit(bundle.url).path) as answer:
        assert (answer.status, await answer.read()) == (200, BUNDLE)
        name = f"inc-000001-n1-{grant.upload[:8]}.tar.gz"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    async with http.get(urlsplit(bundle.url).path, headers={"Range": "bytes=1048570-"}) as answer:
        assert (answer.status, await answer.read()) == (206, BUNDLE[1_048_570:])


async def test_an_order_for_evidence_carries_the_grant_and_no_other_order_does(cell: OpenCell) -> None:
    cell.scheduler.jobs.clear()
    await cell.until_step("n1", "probation")
    orders = {order.action: order for order in cell.nodes.orders}
    collect = orders[OrderAction.COLLECT]
    grant = grant_in(collect.parameters)
    assert grant is not None and grant.url == cell.url
    assert (await grant_for(cell, collect.order_id)).upload == grant.upload
    assert float(collect.parameters["since"]) == pytest.approx(cell.clock.now, abs=5)
    assert grant_in(orders[OrderAction.REBOOT].parameters) is None


async def test_announcing_again_goes_on_where_it_was(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    await patch(http, grant, 0, BUNDLE[:1_000])
    assert await announce(http, grant) == (201, "1000")
    await patch(http, grant, 1_000, BUNDLE[1_000:])
    again = await grant_for(cell)
    assert await announce(http, again) == (201, str(len(BUNDLE)))
    assert stored(cell) == {grant.upload: "stored"}


async def test_another_bundle_in_place_of_one_that_is_on_its_way_begins_anew(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    await patch(http, grant, 0, BUNDLE[:1_000])
    await upload(http, grant, b"other")
    status, why = await announce(http, grant, BUNDLE)
    assert (status, "kept for this grant before" in why) == (507, True)


@pytest.mark.parametrize("offset", [1, 700_000, len(BUNDLE)])
async def test_a_wrong_offset_is_refused_and_changes_nothing(
    cell: OpenCell, http: aiohttp.ClientSession, offset: int
) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    assert (await patch(http, grant, offset, b"x" if offset < len(BUNDLE) else b""))[0] == 409
    assert desk_of(cell).shelf.offset(grant.upload) == 0


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "0x10"}, 400),
        ({"Upload-Offset": "٣"}, 400),
        ({"Upload-Offset": "9" * 16}, 400),
        ({"Content-Type": "application/json"}, 415),
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Authorization": "Basic eDp5"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer " + "x" * 5_000}, 401),
        ({"Authorization": "Bearer é.é"}, 401),
    ],
)
async def test_a_malformed_piece_is_refused(
    cell: OpenCell, http: aiohttp.ClientSession, more: dict[str, str], status: int
) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    assert (await patch(http, grant, 0, b"x", **more))[0] == status
    assert desk_of(cell).shelf.offset(grant.upload) == 0


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"Upload-Length": "0"}, 413),
        ({"Upload-Length": str((4 << 20) + 1)}, 413),
        ({"Upload-Length": "many"}, 400),
        ({"Upload-Length": ""}, 400),
        ({"Upload-Metadata": "name eA=="}, 400),
        ({"Upload-Metadata": "sha256 eA=="}, 400),
        ({"Upload-Metadata": "sha256 ???"}, 400),
    ],
)
async def test_what_cannot_be_is_not_begun(
    cell: OpenCell, http: aiohttp.ClientSession, more: dict[str, str], status: int
) -> None:
    assert (await announce(http, await grant_for(cell), BUNDLE, **more))[0] == status
    assert list((desk_of(cell).shelf.folder / "partial").iterdir()) == []


async def test_more_than_was_announced_is_refused(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant = await grant_for(cell)
    await announce(http, grant, b"four")
    assert (await patch(http, grant, 0, b"fives"))[0] == 413
    assert (await patch(http, grant, 0, b"four"))[0] == 204


async def test_a_bundle_that_is_not_what_was_announced_is_thrown_away(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    assert (await patch(http, grant, 0, b"\0" * len(BUNDLE)))[0] == 460
    assert stored(cell) == {} and await desk_of(cell).find(grant.upload) is None
    async with http.head(f"{UPLOADS}/{grant.upload}", headers=headers(grant)) as answer:
        assert answer.status == 404
    await upload(http, grant)
    assert stored(cell) == {grant.upload: "stored"}


async def test_nobody_but_who_was_given_leave_sends_anything(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant, other = await grant_for(cell), await grant_for(cell, "inc-000002/collect/1", "n2")
    await announce(http, grant)
    claims = desk_of(cell).claims(grant.token)
    forged = sign_claims(claims, key=Ed25519PrivateKey.generate())
    payload, _, signature = grant.token.partition(".")
    longer = base64.urlsafe_b64encode(msgspec.json.encode(msgspec.structs.replace(claims, most_bytes=1 << 40))).decode()
    expired = sign_claims(msgspec.structs.replace(claims, expires_at=cell.clock.now), key=desk_of(cell).key)
    for token in (forged, f"{longer}.{signature}", f"{payload}.", f".{signature}", payload, expired):
        assert (await patch(http, msgspec.structs.replace(grant, token=token), 0, b"x"))[0] == 401, token
    assert (await patch(http, msgspec.structs.replace(grant, token=other.token), 0, b"x"))[0] == 403
    assert desk_of(cell).shelf.offset(grant.upload) == 0


async def test_a_bundle_on_its_way_arrives_although_the_key_was_changed(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    desk, before = desk_of(cell), await grant_for(cell)
    await announce(http, before)

    desk.sign_with(desk.key)
    desk.sign_with(Ed25519PrivateKey.generate())

    await upload(http, before)
    assert stored(cell) == {before.upload: "stored"}
    after = await grant_for(cell, "inc-000002/collect/1", "n2")
    assert after.upload != before.upload


async def test_what_the_key_before_signs_is_believed_no_longer_than_its_last_grant(cell: OpenCell) -> None:
    desk = desk_of(cell)
    before = desk.key
    desk.sign_with(Ed25519PrivateKey.generate())
    forever = sign_claims(Claims("0" * 32, "n1", "inc-1", 9, cell.clock.now * 2.0), key=before)
    assert desk.claims(forever).node == "n1"

    cell.clock.now += desk.settings.valid_s

    with pytest.raises(Refused, match="did not sign"):
        desk.claims(forever)


async def test_an_order_is_no_grant_and_a_grant_no_order(cell: OpenCell) -> None:
    key, payload = desk_of(cell).key, msgspec.json.encode(desk_of(cell).claims((await grant_for(cell)).token))
    token = ".".join(base64.urlsafe_b64encode(each).decode() for each in (payload, key.sign(payload)))
    with pytest.raises(Refused, match="did not sign"):
        verify_token(token, keys=[key.public_key()], now=0.0)
    assert not payload.startswith(PURPOSE)


@pytest.mark.parametrize(
    "path", ["..%2F..%2Fevents.sqlite", "%2e%2e", "..", "0" * 32, "%00", "a" * 4_000, "partial", "x.json"]
)
async def test_no_name_leads_out_of_the_folder(cell: OpenCell, http: aiohttp.ClientSession, path: str) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    for method in ("GET", "HEAD", "PATCH"):
        async with http.request(method, f"{UPLOADS}/{path}", headers=headers(grant)) as answer:
            assert answer.status in {403, 404, 405, 400}, (method, path)


async def test_a_connection_that_breaks_keeps_what_came(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    with open_piece(grant, length=len(BUNDLE)) as connection:
        connection.sendall(BUNDLE[:300_000])
        await wait_for_offset(cell, grant, at_least=0)
    await wait_for_offset(cell, grant, at_least=300_000)
    assert (await patch(http, grant, 300_000, BUNDLE[300_000:])) == (204, str(len(BUNDLE)))
    assert stored(cell) == {grant.upload: "stored"}


async def test_who_stops_sending_loses_the_connection_and_nothing_else(cell: OpenCell) -> None:
    async with port_of(cell, idle_limit_s=2.0) as url, aiohttp.ClientSession(url) as http:
        grant = msgspec.structs.replace(await grant_for(cell), url=url)
        await announce(http, grant)
        with open_piece(grant, length=len(BUNDLE)) as connection:
            connection.sendall(b"x")
            await eventually("it is being sent", lambda: bool(desk_of(cell)._busy))
            assert (await patch(http, grant, 0, b"x"))[0] == 423
            answer = await asyncio.to_thread(connection.recv, 65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert desk_of(cell).shelf.offset(grant.upload) == 1


async def test_who_sends_a_byte_now_and_then_loses_the_connection_too(cell: OpenCell) -> None:
    async with port_of(cell, piece_limit_s=0.5) as url, aiohttp.ClientSession(url) as http:
        grant = msgspec.structs.replace(await grant_for(cell), url=url)
        assert await announce(http, grant) == (201, "0")
        with open_piece(grant, length=len(BUNDLE)) as connection:
            answered = await asyncio.to_thread(trickle, connection)
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert 0 < desk_of(cell).shelf.offset(grant.upload) < 100


def trickle(connection: socket.socket) -> bytes:
    """Send a byte now and then until there is an answer; return that."""
    connection.settimeout(0.05)
    for _ in range(100):
        with contextlib.suppress(OSError):
            connection.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            return connection.recv(65_536)
    return b""


async def test_a_port_of_its_own_takes_bundles_and_nothing_else(cell: OpenCell) -> None:
    grant = await grant_for(cell)
    async with port_of(cell) as url, aiohttp.ClientSession(url) as session:
        await upload(session, grant)
        for path in ("/", "/api/v1/status", "/healthz", f"{UPLOADS}/{grant.upload}", UPLOADS):
            async with session.get(path) as answer:
                assert answer.status in {404, 405}, path
    assert stored(cell) == {grant.upload: "stored"}


async def test_a_controller_that_stands_by_takes_nothing(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.front.leads = lambda: False
    cell.front.leader_url = lambda: "http://elsewhere"
    async with http.post(UPLOADS, headers=headers(await grant_for(cell))) as answer:
        assert (answer.status, (await answer.json())["hint"]) == (503, "the leader answers at http://elsewhere")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, a little less than which a bundle is."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_disk_that_fills_up_on_the_way_is_said_and_gone_on_with(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    section = SMALL.model_copy(update={"directory": small_disk / "evidence"})
    bundle = BUNDLE[:900_000]
    async with open_cell(tmp_path / "cell", evidence=section) as cell, aiohttp.ClientSession(cell.url) as http:
        await cell.add_nodes("n1")
        cell.scheduler.jobs["n1"] = ("17",)
        await cell.nodes.find("n1", off_the_bus())
        await cell.until_step("n1", "drain")
        grant = await grant_for(cell)
        assert await announce(http, grant, bundle) == (201, "0")
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        assert (await patch(http, grant, 0, bundle))[0] == 507
        here = desk_of(cell).shelf.offset(grant.upload)
        assert 0 < here < len(bundle)
        await eventually("the timeline says it", lambda: stored(cell) == {grant.upload: "delayed"})
        assert "No space left" in cell.cell.belief.incidents["inc-000001"].bundles[grant.upload].because
        ballast.unlink()
        assert await patch(http, grant, here, bundle[here:]) == (204, str(len(bundle)))
        assert stored(cell) == {grant.upload: "stored"}


async def test_no_more_are_taken_at_once_than_may_be(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grants = [await grant_for(cell, f"inc-000001/collect/{number}") for number in (1, 2, 3)]
    for grant in grants:
        await announce(http, grant, BUNDLE[:100_000])
    with open_piece(grants[0], length=100), open_piece(grants[1], length=100):
        await eventually("both are being sent", lambda: desk_of(cell).is_full)
        assert (await patch(http, grants[2], 0, b"x"))[0] == 429
    assert desk_of(cell).shelf.offset(grants[2].upload) == 0


@contextlib.contextmanager
def open_piece(grant: Grant, *, length: int) -> Any:
    """Give a connection on which a piece was begun."""
    parts = urlsplit(grant.url)
    ours = headers(grant, **{"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
    head = "".join(f"{name}: {value}\r\n" for name, value in ours.items())
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.settimeout(30.0)
        line = f"PATCH {UPLOADS}/{grant.upload} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {length}\r\n"
        connection.sendall(f"{line}{head}\r\n".encode())
        yield connection


async def wait_for_offset(cell: OpenCell, grant: Grant, *, at_least: int) -> None:
    async with asyncio.timeout(30):
        while desk_of(cell).shelf.offset(grant.upload) < at_least or (desk_of(cell)._busy and at_least):  # noqa: ASYNC110 - a file grows, there is nothing to wait on
            await asyncio.sleep(0.01)


async def test_old_bundles_make_place_but_never_those_of_open_incidents(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    closed = await grant_for(cell, "inc-000000/collect/1")
    first, second = [await grant_for(cell, f"inc-000001/collect/{number}") for number in (1, 2)]
    await upload(http, closed)
    await upload(http, first)
    assert (await announce(http, second)) == (201, "0")
    assert await desk_of(cell).find(closed.upload) is None
    await patch(http, second, 0, BUNDLE)
    third = await grant_for(cell, "inc-000001/collect/3")
    status, why = await announce(http, third)
    assert (status, "the bundles of n1 would take" in why) == (507, True)
    wanted = {first.upload: "stored", second.upload: "stored", third.upload: "delayed"}
    await eventually("the timeline says it", lambda: stored(cell) == wanted)


async def test_the_disk_is_left_its_reserve(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    shelf = desk_of(cell).shelf
    shelf.quota = replace(shelf.quota, keep_free_bytes=1 << 60)
    status, why = await announce(http, await grant_for(cell))
    assert (status, "keep_free_bytes" in why) == (507, True)


async def test_bundles_are_deleted_when_they_are_old_and_their_incident_is_over(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    grant = await grant_for(cell)
    await upload(http, grant)
    cell.clock.now += 31 * 86_400
    await desk_of(cell).sweep()
    assert stored(cell) == {grant.upload: "stored"}
    cell.scheduler.jobs.clear()
    cell.nodes.mends = True
    async with http.post("/api/v1/nodes/n1/uncordon", json={"because": "mended"}) as answer:
        assert answer.status == 200
    await cell.until("n1", "closed")
    await desk_of(cell).sweep()
    assert stored(cell) == {grant.upload: "removed"}
    async with http.get(f"{UPLOADS}/{grant.upload}") as answer:
        assert answer.status == 404


async def test_what_a_dying_controller_kept_and_did_not_say_is_said_by_the_next(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    grant, desk = await grant_for(cell), desk_of(cell)
    await announce(http, grant)
    desk.shelf.append(grant.upload, BUNDLE)
    desk.shelf.finish(grant.upload)
    record = desk.shelf.folder / "kept" / f"{grant.upload}.json"
    record.rename(desk.shelf.folder / "partial" / record.name)
    desk.shelf.open()
    assert [each.upload for each in desk.shelf.kept()] == [grant.upload]
    await desk.sweep()
    await desk.sweep()
    entries = [entry.event for entry in await cell.front.timeline(incident_id="inc-000001")]
    assert [each.upload for each in entries if isinstance(each, EvidenceStored)] == [grant.upload]
    assert not any(isinstance(each, EvidenceRemoved) for each in entries)


async def test_a_folder_that_fails_does_not_end_the_controller(
    cell: OpenCell, http: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    grant = await grant_for(cell)
    await upload(http, grant)
    kept = desk_of(cell).shelf.folder / "kept"
    (kept / f"{grant.upload}.json").unlink()
    (kept / f"{grant.upload}.json").mkdir()
    async with http.post("/api/v1/nodes/n1/uncordon", json={}) as answer:
        assert answer.status == 200
    await cell.until("n1", "closed")
    cell.clock.now += 31 * 86_400
    running = asyncio.create_task(desk_of(cell).run())
    await eventually("it is said", lambda: "evidence.failed" in capsys.readouterr().out)
    assert not running.done()
    running.cancel()


async def test_what_is_begun_and_never_finished_goes_with_its_grant(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await announce(http, await grant_for(cell))
    cell.clock.now += SMALL.valid_s + 1
    await desk_of(cell).sweep()
    assert list((desk_of(cell).shelf.folder / "partial").iterdir()) == []


async def test_a_node_says_nothing_on_the_timeline_of_anothers_incident(cell: OpenCell) -> None:
    said = messages.EvidenceEnded("0" * 32, "inc-000001", "failed", "lies", cell.clock.now)
    await cell.nodes.say("n2", said)
    await cell.nodes.say("n1", msgspec.structs.replace(said, upload="1" * 32, because="true"))
    await eventually("both are heard", lambda: bool(stored(cell)))
    entries = [entry.event for entry in await cell.front.timeline(incident_id="inc-000001")]
    assert [getattr(each, "because", "") for each in entries if "Evidence" in type(each).__name__] == ["true"]
    assert stored(cell) == {"1" * 32: "failed"}


def test_records_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Quota(1, 1, 0))
    shelf.open()
    damaged = {
        "a": b"{",
        "b": b'{"upload": "c"}',
        "0" * 32: b"[]",
        "1" * 32: b'{"upload": "\xff\xff"}',
        "2" * 32: b'{"a":' * 100_000,
    }
    for name, content in damaged.items():
        (tmp_path / "kept" / f"{name}.json").write_bytes(content)
    shelf.open()
    assert shelf.kept() == ()


KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
claims = st.builds(
    Claims,
    upload=st.text("0123456789abcdef", min_size=32, max_size=32),
    node=st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True),
    incident_id=st.text(max_size=20),
    most_bytes=st.integers(1, 2**40),
    expires_at=st.floats(1.0, 2e9),
)


@given(claims=claims)
def test_what_is_signed_is_read_again(claims: Claims) -> None:
    assert verify_token(sign_claims(claims, key=KEY), keys=[KEY.public_key()], now=0.0) == claims


@given(claims=claims, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_token_is_refused(claims: Claims, at: int, bit: int) -> None:
    token = bytearray(sign_claims(claims, key=KEY).encode())
    token[at % len(token)] ^= 1 << bit
    text = token.decode("latin-1")
    with contextlib.suppress(Refused):
        assert verify_token(text, keys=[KEY.public_key()], now=0.0) == claims


@given(text=st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode() + ".")))
def test_any_token_is_refused_or_believed(text: str) -> None:
    with pytest.raises(Refused):
        verify_token(text, keys=[KEY.public_key()], now=0.0)


@given(text=st.one_of(st.none(), st.text(), st.integers().map(str)))
def test_any_length_is_a_number_or_refused(text: str | None) -> None:
    try:
        number = parse_length(text, name="Upload-Offset")
    except BadUpload:
        return
    assert 0 <= number <= 2**40 and text is not None and text.isascii() and int(text) == number


@given(text=st.text())
def test_any_metadata_is_a_checksum_or_refused(text: str) -> None:
    for whole in (text, f"sha256 {text}", f"a b,sha256 {base64.b64encode(text.encode()).decode()}"):
        with contextlib.suppress(BadUpload):
            assert len(parse_checksum(whole)) == 64


@given(raw=st.binary(min_size=32, max_size=32))
def test_a_checksum_is_read_as_it_was_written(raw: bytes) -> None:
    assert parse_checksum(f"name eA==,{metadata_of(raw.hex())}") == raw.hex()


@given(text=st.text())
def test_any_grant_is_one_or_refused(text: str) -> None:
    with contextlib.suppress(BadUpload):
        assert grant_in({"evidence": text}) is None or isinstance(grant_in({"evidence": text}), Grant)


def test_uploads_have_names_that_only_the_key_tells() -> None:
    names = {upload_of("inc-000001/collect/1", node, key=key) for node in ("n1", "n2") for key in (KEY,)}
    assert len(names) == 2 and {upload_of("inc-000001/collect/1", "n1", key=KEY)} < names
    assert upload_of("inc-000001/collect/1", "n1", key=Ed25519PrivateKey.generate()) not in names


async def test_bundles_that_are_announced_together_are_not_given_the_same_room(cell: OpenCell) -> None:
    grants = [await grant_for(cell, f"inc-000001/collect/{number}") for number in range(1, 6)]
    async with aiohttp.ClientSession(cell.url) as http:
        answers = await asyncio.gather(*(announce(http, grant) for grant in grants))
    assert sorted(status for status, _ in answers) == [201, 201, 507, 507, 507]


async def test_tickets_and_what_is_sent_back_name_the_bundle(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant = await grant_for(cell)
    await upload(http, grant)
    cell.nodes.mends = False
    cell.scheduler.jobs.clear()
    incident = cell.cell.belief.incidents["inc-000001"]
    async with asyncio.timeout(20):
        while not cell.tickets.sent:
            cell.clock.now += 10.0
            await asyncio.sleep(0.05)
    url = f"{cell.url}{UPLOADS}/{grant.upload}"
    assert f"Evidence: {url} (1.0 MiB)" in cell.tickets.sent[0].body.splitlines()
    incident.rma = "the same fault came back"
    bundle = bundle_of(cell.cell.belief, incident)
    assert bundle is not None and bundle.bundles == [url]


async def test_a_person_gets_what_is_whole_and_goes_on_with_what_broke_off(
    cell: OpenCell, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    grant, target = await grant_for(cell), tmp_path / "got.tar.gz"
    get = ("--url", cell.url, "evidence", "get", "inc-000001", "-o", str(target))
    missing = await asyncio.to_thread(run_cli, *get)
    assert (missing.returncode, "there is no bundle 'inc-000001'" in missing.stderr) == (1, True)
    await upload(http, grant)
    partial = target.with_name("got.tar.gz.partial")
    partial.write_bytes(BUNDLE[:1_000] + b"!" + BUNDLE[1_001:2_000])
    damaged = await asyncio.to_thread(run_cli, *get)
    assert (damaged.returncode, "is not what was stored" in damaged.stderr) == (69, True)
    assert not target.exists() and not partial.exists()
    partial.write_bytes(BUNDLE[:2_000])
    got = await asyncio.to_thread(run_cli, *get)
    assert (got.returncode, target.read_bytes() == BUNDLE, partial.exists()) == (0, True, False)
    shown = await asyncio.to_thread(run_cli, "--url", cell.url, "incident", "inc-000001")
    assert f"fleetmend evidence get {grant.upload} (1.0 MiB)" in shown.stdout


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"where": "s3"}, "where = 's3' and [evidence.s3] belong together"),
        ({"where": "controller", "s3": {"bucket": "b"}}, "where = 's3' and [evidence.s3] belong together"),
        ({"where": "controller", "certificate": "/c"}, "give certificate and certificate_key, or neither"),
        ({"certificate": "/c", "certificate_key": "/k"}, "certificate needs port"),
        ({"where": "controller", "host": "::", "port": 1}, "url is missing: no node finds this controller at"),
        ({"url": "controller.example:8643"}, "url must be http:// or https://"),
        ({"where": "s3", "s3": {"bucket": "b", "access_key": "a"}}, "give access_key and secret_key_file, or neither"),
        ({"where": "s3", "s3": {"bucket": "b", "endpoint": "s3.example"}}, "endpoint must begin with https://"),
        ({"valid_s": 604_801}, "less than or equal to 604800"),
        ({"wher": "s3"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        EvidenceSection.model_validate(more)
    assert said in str(refused.value)


async def test_a_client_that_others_wrote_is_understood(cell: OpenCell) -> None:
    """The protocol is tus 1.0 and not only like it: a bundle is begun, sent in part, and gone on with."""
    grant, digest = await grant_for(cell), hashlib.sha256(BUNDLE).hexdigest()

    def send() -> list[int]:
        client = TusClient(f"{cell.url}{UPLOADS}", headers={"Authorization": f"Bearer {grant.token}"})
        whole: dict[str, Any] = {"file_stream": io.BytesIO(BUNDLE), "chunk_size": 400_000}
        first = client.uploader(**whole, metadata={"sha256": digest})
        first.upload_chunk()  # type: ignore[no-untyped-call] # tuspy has no types there
        second = client.uploader(**whole, url=f"{cell.url}{UPLOADS}/{grant.upload}")
        begins_at = second.offset
        second.upload()
        return [first.offset, begins_at, second.offset]

    assert await asyncio.to_thread(send) == [400_000, 400_000, len(BUNDLE)]
    assert stored(cell) == {grant.upload: "stored"}


async def test_a_piece_that_is_packed_is_refused_and_does_not_grow(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    grant = await grant_for(cell)
    await announce(http, grant)
    status, _ = await patch(http, grant, 0, zlib.compress(bytes(8 << 20)), **{"Content-Encoding": "deflate"})
    assert status == 415
    assert desk_of(cell).shelf.offset(grant.upload) == 0
