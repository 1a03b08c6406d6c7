"""Bundles in a real S3-compatible server: nodes hold no key, and what nobody finished is found out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.bundles.plan import PACKED, PARTS, Packed
from agent.bundles.send import try_once
from controller.cell import Cell
from controller.errors import Permanent
from controller.evidence.choosing import Counter, counter_of
from controller.evidence.desk import Asked
from controller.evidence.s3 import S3Evidence
from controller.evidence.s3_store import Bucket, part_bytes_of
from controller.policy.rules import Budget, Rules
from controller.sections.evidence import EvidenceSection, S3Section
from controller.settings import ControllerSettings, SettingsError
from controller.store.sqlite import SqliteLog
from tests.cli.conftest import run_cli
from tests.support.bundles import Node
from tests.support.cutting_proxy import cutting_proxy
from tests.support.eventually import eventually
from tests.support.open_cell import OpenCell, off_the_bus, open_cell
from tests.support.s3 import BUCKET, client_of, s3_server
from wire.evidence import Grant, grant_in, parameter_of
from wire.messages import MAX_BYTES, EvidenceEnded

CONTENT = os.urandom((17 << 20) + 5)
"""Three parts, the last of them short."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


def section(url: str, directory: Path, **changes: Any) -> EvidenceSection:
    secret = directory / "s3.secret"
    secret.touch(mode=0o600)
    secret.write_text("test\n")
    store = {"endpoint": url, "bucket": BUCKET, "access_key": "test", "secret_key_file": secret, **changes}
    return EvidenceSection(where="s3", bundle_bytes=20 << 20, s3=S3Section(**store))


@pytest.fixture
async def cell(tmp_path: Path, server: str) -> AsyncIterator[OpenCell]:
    async with cell_with(tmp_path, section(server, tmp_path)) as opened:
        yield opened


def cell_with(directory: Path, evidence: EvidenceSection) -> Any:
    (directory / "cell").mkdir(exist_ok=True)
    return _opened(open_cell(directory / "cell", evidence=evidence))


class _opened:  # noqa: N801 - reads as a context manager
    """A cell with an open incident on n1."""

    def __init__(self, opening: Any) -> None:
        self.opening = opening

    async def __aenter__(self) -> OpenCell:
        cell: OpenCell = await self.opening.__aenter__()
        await cell.add_nodes("n1")
        cell.scheduler.jobs["n1"] = ("17",)
        await cell.nodes.find("n1", off_the_bus())
        await cell.until_step("n1", "drain")
        return cell

    async def __aexit__(self, *error: Any) -> None:
        await self.opening.__aexit__(*error)


def desk_of(cell: OpenCell) -> S3Evidence:
    assert isinstance(cell.evidence, S3Evidence)
    return cell.evidence


async def grant_of(cell: OpenCell, number: int = 1) -> Grant:
    order = f"inc-000001/collect/{number}"
    grant = grant_in(await cell.evidence.parameters_for(Asked(order, "n1", "inc-000001")))
    assert grant is not None
    return grant


async def say(cell: OpenCell, folder: Path, outcome: str = "sent") -> None:
    """Have the node say what became of its bundle, and the controller look at it."""
    packed = msgspec.json.decode((folder / PACKED).read_bytes(), type=Packed)
    await cell.nodes.say(
        "n1", EvidenceEnded(folder.name, "inc-000001", outcome, "", cell.clock.now, packed.size_bytes, packed.sha256)
    )
    bundles = cell.cell.belief.incidents["inc-000001"].bundles
    await eventually("the node is heard", lambda: folder.name in bundles)
    if outcome == "failed":
        await eventually("it is to be given up", lambda: folder.name in desk_of(cell)._given_up)
    await desk_of(cell).look()


def state(cell: OpenCell, grant: Grant) -> tuple[str, str]:
    bundle = cell.cell.belief.incidents["inc-000001"].bundles[grant.upload]
    return bundle.state, bundle.because


def unfinished(server: str, grant: Grant) -> list[str]:
    found = client_of(server).list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return [each["Key"] for each in found if grant.upload in each["Key"]]


async def test_a_bundle_goes_to_the_store_and_is_got_from_there(cell: OpenCell, server: str, tmp_path: Path) -> None:
    grant = await grant_of(cell)
    assert (grant.where, len(grant.parts), grant.token) == ("s3", 3, "")
    folder = Node(tmp_path, cell.clock).put(grant, CONTENT)
    said = await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")
    assert said.outcome == "sent", said
    assert unfinished(server, grant) == [f"evidence/{grant.upload}.tar.gz"]
    await say(cell, folder)
    assert state(cell, grant) == ("stored", "") and unfinished(server, grant) == []
    url = cell.cell.belief.incidents["inc-000001"].bundles[grant.upload].url
    http = aiohttp.ClientSession(cell.url)
    async with http, http.get(urlsplit(url).path, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"].startswith(server)) == (307, True)
        assert "Signature" in answer.headers["Location"]
    target = tmp_path / "got.tar.gz"
    got = await asyncio.to_thread(run_cli, "--url", cell.url, "evidence", "get", grant.upload, "-o", str(target))
    assert (got.returncode, target.read_bytes() == CONTENT) == (0, True), got.stderr


async def test_parts_that_the_store_has_are_not_sent_again(server: str, tmp_path: Path) -> None:
    async with (
        cutting_proxy(urlsplit(server).port or 0) as proxy,
        cell_with(tmp_path, section(proxy.url, tmp_path)) as cell,
    ):
        grant = await grant_of(cell)
        folder = Node(tmp_path, cell.clock).put(grant, CONTENT)
        before = proxy.passed
        proxy.budgets += [9 << 20, 1 << 20]
        outcomes = []
        for _ in range(3):
            said = await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")
            outcomes.append((said.outcome, msgspec.json.decode((folder / PARTS).read_bytes())))
        assert outcomes == [("later", [0]), ("sent", [0, 1, 2]), ("sent", [0, 1, 2])]
        assert proxy.passed - before < len(CONTENT) + (2 << 20)
        await say(cell, folder)
        assert state(cell, grant) == ("stored", "")


async def test_what_is_not_whole_in_the_store_is_not_called_stored(cell: OpenCell, server: str, tmp_path: Path) -> None:
    grant = await grant_of(cell)
    folder = Node(tmp_path, cell.clock).put(grant, CONTENT)
    (folder / PARTS).write_bytes(b"[1]")
    assert (await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")).outcome == "sent"
    await say(cell, folder)
    missing = len(CONTENT) - (8 << 20)
    assert state(cell, grant) == ("failed", f"the store has {missing} bytes of it, and the node sent {len(CONTENT)}")
    assert unfinished(server, grant) == []


async def test_a_node_that_gave_up_leaves_nothing_behind(cell: OpenCell, server: str, tmp_path: Path) -> None:
    grant = await grant_of(cell)
    folder = Node(tmp_path, cell.clock).put(grant, b"x")
    assert unfinished(server, grant) != []
    await say(cell, folder, "failed")
    assert unfinished(server, grant) == []


async def test_what_was_made_whole_before_is_only_said_again(cell: OpenCell, tmp_path: Path) -> None:
    grant = await grant_of(cell)
    folder = Node(tmp_path, cell.clock).put(grant, b"small")
    await asyncio.to_thread(try_once, folder, rate=1 << 30, ca_file="")
    await asyncio.to_thread(desk_of(cell).bucket.finish, grant.upload, size_bytes=5)
    await say(cell, folder)
    assert state(cell, grant) == ("stored", "")


async def test_an_order_that_is_given_again_goes_on_with_the_same_upload(cell: OpenCell, server: str) -> None:
    first, second = await grant_of(cell, 7), await grant_of(cell, 7)
    assert first.upload == second.upload and len(unfinished(server, first)) == 1


@pytest.mark.parametrize(
    ("changes", "because"),
    [({"bucket": "not-there"}, "NoSuchBucket"), ({"endpoint": "http://127.0.0.1:9"}, "Could not connect")],
)
async def test_a_store_that_gives_no_leave_is_said_and_the_order_goes_out(
    server: str, tmp_path: Path, changes: dict[str, str], because: str
) -> None:
    async with cell_with(tmp_path, section(server, tmp_path, **changes)) as cell:
        assert await cell.evidence.parameters_for(Asked("inc-000001/collect/1", "n1", "inc-000001")) == {}
        bundles = cell.cell.belief.incidents["inc-000001"].bundles
        await eventually("the timeline says it", lambda: bool(bundles))
        (bundle,) = bundles.values()
        assert (bundle.state, because in bundle.because) == ("failed", True), bundle.because


def test_a_bundle_that_nobody_sent_is_not_there(server: str, tmp_path: Path) -> None:
    store = section(server, tmp_path).s3
    assert store is not None
    with pytest.raises(Permanent, match="there is no such bundle"):
        Bucket(store).finish("0" * 32, size_bytes=1)


def test_the_largest_grant_fits_into_a_message(server: str, tmp_path: Path) -> None:
    store = section(server, tmp_path).s3
    assert store is not None
    largest = 1 << 40
    parts = Bucket(store).begin("f" * 32, bundle_bytes=largest, valid_s=604_800)
    grant = Grant("f" * 32, "s3", largest, 2e9, parts=parts.urls, part_bytes=part_bytes_of(largest))
    assert len(parameter_of(grant)["evidence"]) < MAX_BYTES // 4
    assert grant_in(parameter_of(grant)) == grant


def counter_by(directory: Path, evidence: EvidenceSection) -> Counter:
    with contextlib.closing(SqliteLog(directory / "events.sqlite")) as log:
        return counter_of(
            ControllerSettings(state=directory, evidence=evidence),
            Cell(log, Rules((), Budget(nodes=1))),
            key=Ed25519PrivateKey.generate(),
            page_url="http://127.0.0.1:8642",
            clock=lambda: 0.0,
            check_leading=lambda: None,
        )


def test_the_settings_choose_the_store(server: str, tmp_path: Path) -> None:
    chosen = counter_by(tmp_path, section(server, tmp_path))
    assert isinstance(chosen.evidence, S3Evidence)
    assert (chosen.receiver, chosen.on_api_port(), chosen.has_own_port) == (None, None, False)


def test_without_its_extra_it_is_said(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("botocore", "controller.evidence.s3"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(SettingsError, match=r"needs the extra fleetmend\[s3\]"):
        counter_by(tmp_path, section(server, tmp_path))


def test_who_does_not_use_it_does_not_load_it() -> None:
    asked = "import sys, controller.main; print(any(name.startswith('botocore') for name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
