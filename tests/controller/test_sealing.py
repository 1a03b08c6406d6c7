"""The head of the log is signed at intervals, soon after people act, and held to at the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import events, keys
from controller.sealing import FILE, Sealing, witness
from controller.store.auditing import audit
from controller.store.log import StoreError
from controller.store.seals import KnownKeys, Signer
from controller.store.sqlite import SqliteLog
from tests.support.eventually import eventually

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER = Signer(keys.key_id(KEY), KEY, KnownKeys("main", keys.public_half(KEY)))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "events.sqlite")) as opened:
        opened.begin_term()
        yield opened


def sealing_of(log: SqliteLog) -> Sealing:
    return Sealing(log, SIGNER, log.path.with_name(FILE), lambda: 500.0)


def entry(event_id: int) -> events.Logged:
    return events.Logged(event_id, float(event_id), events.OperatorActed("pause", "fleet", "ada", "so"))


async def test_the_head_is_kept_in_the_log_and_beside_it(log: SqliteLog) -> None:
    sealing = sealing_of(log)
    await sealing.seal()
    assert (log.heads(), witness(sealing.file)) == ([], None)
    await log.append([entry(1), entry(2)], [])
    with structlog.testing.capture_logs() as said:
        await sealing.seal()
        await sealing.seal()
    (head,) = log.heads()
    assert (head.event_id, head.at, witness(sealing.file)) == (2, 500.0, head)
    assert [(line["event"], line["link"]) for line in said] == [("head.signed", head.link.hex())]
    assert (audit(log, SIGNER.known).flaws, sealing.file.stat().st_mode & 0o777) == ([], 0o600)


async def test_what_a_person_did_is_signed_soon(log: SqliteLog) -> None:
    sealing = sealing_of(log)
    running = asyncio.create_task(sealing.run(every_s=1e6))
    await log.append([entry(1)], [])
    sealing.soon()
    await eventually("it is signed", lambda: [head.event_id for head in log.heads()] == [1])
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_log_that_cannot_be_written_is_signed_later(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing = sealing_of(log)
    await log.append([entry(1)], [])

    def full(*_: object) -> None:
        raise StoreError("database or disk is full")

    with monkeypatch.context() as patched, structlog.testing.capture_logs() as said:
        patched.setattr(log, "_keep_head", full)
        await sealing.seal()
    assert [(line["event"], line["because"]) for line in said] == [("seal.delayed", "database or disk is full")]
    await sealing.seal()
    assert [head.event_id for head in log.heads()] == [1]


async def test_a_log_that_grew_is_the_one_that_was_signed(log: SqliteLog) -> None:
    sealing = sealing_of(log)
    sealing.check()
    await log.append([entry(1)], [])
    await sealing.seal()
    await log.append([entry(2)], [])
    sealing.check()
    assert (sealing.error, sealing.file.exists()) == ("", True)


@pytest.mark.parametrize(
    ("statement", "because"),
    [
        ("DELETE FROM events WHERE event_id = 2", "entry 2 was signed and is not there: the log was cut off"),
        ("UPDATE events SET link = x'00'", "entry 2, or what came before it, is not the one that was signed"),
    ],
)
async def test_a_log_that_is_another_is_told_at_the_next_start(log: SqliteLog, statement: str, because: str) -> None:
    await log.append([entry(1), entry(2)], [])
    await sealing_of(log).seal()
    log._connection.execute(statement)
    sealing = sealing_of(log)
    with structlog.testing.capture_logs() as said:
        sealing.check()
    assert because in sealing.error
    assert [(line["event"], line["log_level"]) for line in said] == [("log.contradicted", "error")]
    kept = sealing.file.with_name("log-head-2.contradicted.json")
    assert (sealing.file.exists(), witness(kept) is not None) == (False, True)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"event_id":"1"}'])
def test_a_head_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with structlog.testing.capture_logs() as said:
        assert witness(tmp_path / FILE) is None
    assert [line["event"] for line in said] == ["head.unreadable"]


async def test_a_head_of_somebody_else_is_told(log: SqliteLog) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
    await log.append([entry(1)], [])
    known = KnownKeys("main", keys.public_half(stranger))
    await Sealing(log, Signer(keys.key_id(stranger), stranger, known), log.path.with_name(FILE), lambda: 1.0).seal()
    sealing = sealing_of(log)
    sealing.check()
    assert "is nobody's: it is signed by key" in sealing.error
