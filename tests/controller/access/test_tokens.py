"""Tokens: only the right text opens, only while it is good, and a file that cannot be trusted opens nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from controller.access.roles import Role
from controller.access.tokens import TokenBook, TokenError, changing, new_token, read, why_no_name
from tests.support.tokens import DAY_S, NOW, make_token


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where tokens are."""
    return tmp_path / "access-tokens.json"


def test_a_token_stands_for_its_owner_and_its_text_is_not_kept(file: Path) -> None:
    text = make_token(file, "alice", Role.OPERATOR)
    found = TokenBook(file, lambda: NOW).owner_of(text)
    assert found is not None
    assert (found.name, found.roles) == ("alice", [Role.OPERATOR])
    assert text.rpartition("_")[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@given(some.text())
def test_no_other_text_opens_anything(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any-text.json"
    right = make_token(file, "alice", Role.ADMIN) if not file.exists() else ""
    assert text == right or TokenBook(file, lambda: NOW).owner_of(text) is None


def test_a_token_with_the_id_of_another_opens_nothing(file: Path) -> None:
    alice, bob = make_token(file, "alice", Role.ADMIN), make_token(file, "bob", Role.VIEWER)
    mixed = alice[:13] + bob[13:]
    assert mixed.startswith("fmt_") and mixed != alice
    assert TokenBook(file, lambda: NOW).owner_of(mixed) is None


def test_a_token_is_good_until_it_expires(file: Path) -> None:
    text, now = make_token(file, "alice", Role.VIEWER, expires_at=NOW + DAY_S), [NOW]
    book = TokenBook(file, lambda: now[0])
    assert book.owner_of(text)
    now[0] = NOW + DAY_S
    assert book.owner_of(text) is None


def test_a_revoked_token_opens_nothing_from_then_on(file: Path) -> None:
    text, book = make_token(file, "alice", Role.VIEWER), TokenBook(file, lambda: NOW)
    assert book.owner_of(text)
    with changing(file) as tokens:
        tokens.clear()
    assert book.owner_of(text) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 9, "tokens": []}', b"\xff", b"[" * 100_000])
def test_a_file_that_holds_something_else_opens_nothing_and_is_not_overwritten(file: Path, content: bytes) -> None:
    text, book = make_token(file, "alice", Role.ADMIN), TokenBook(file, lambda: NOW)
    assert book.owner_of(text)
    file.write_bytes(content)
    assert book.owner_of(text) is None
    with pytest.raises(TokenError, match=r"access-tokens\.json"), changing(file):
        raise AssertionError("nothing was to be changed")
    assert file.read_bytes() == content


def test_a_file_that_others_can_read_opens_nothing(file: Path) -> None:
    text = make_token(file, "alice", Role.ADMIN)
    file.chmod(0o640)
    assert TokenBook(file, lambda: NOW).owner_of(text) is None
    with pytest.raises(TokenError, match="chmod 600"):
        read(file)


def test_a_file_of_an_unknown_role_opens_nothing(file: Path) -> None:
    kept, text = new_token("alice", [Role.ADMIN], now=NOW, expires_at=0.0)
    row = msgspec.to_builtins(kept) | {"roles": ["root"]}
    file.touch(0o600)
    file.write_bytes(msgspec.json.encode({"version": 1, "tokens": [row]}))
    assert TokenBook(file, lambda: NOW).owner_of(text) is None


def test_changes_that_come_together_all_stay(file: Path) -> None:
    threads = [threading.Thread(target=make_token, args=(file, f"t{number}", Role.VIEWER)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {token.name for token in read(file)} == {f"t{number}" for number in range(8)}


@pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 65, "fleetmend", "a\x1b[2J"])
def test_what_is_no_name_of_a_person(name: str) -> None:
    assert why_no_name(name)
