"""Today's programs and those of every recorded release understand each other: docs/explanation/compatibility.md.

A recorded release stands under tests/wire/recorded: what it said, byte for byte, and the schema by which it read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from scripts import wire_corpus
from scripts.wire_corpus import FOLDER, INSIDE, KEY, KEY_ID, NODE, READERS, SCHEMA_FILE
from wire import messages, newer, signatures

RELEASES = sorted(path.name for path in FOLDER.iterdir())
RECORDED = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.json") if path.name != SCHEMA_FILE)
TODAY = wire_corpus.corpus()
TRUSTED = {KEY_ID: KEY.public_key().public_bytes_raw()}


def lost(said: Any, understood: Any, where: str = "") -> Iterator[str]:
    """Yield where something that was said is not in what was understood."""
    match said, understood:
        case dict(), dict():
            for name, value in said.items():
                if name in understood:
                    yield from lost(value, understood[name], f"{where}.{name}")
                else:
                    yield f"{where}.{name}"
        case list(), list() if len(said) == len(understood):
            for index, (each, other) in enumerate(zip(said, understood, strict=True)):
                yield from lost(each, other, f"{where}[{index}]")
        case _ if said != understood:
            yield f"{where} ({said!r} became {understood!r})"


def plain(read: object) -> Any:
    return json.loads(msgspec.json.encode(read))


def read_today(path: str, payload: bytes) -> Any:
    """Return what today's program reads of something that was recorded, as plain objects."""
    folder, _, name = path.partition("/")
    if folder == INSIDE:
        return plain(msgspec.json.decode(payload, type=READERS[name.partition(".")[0]]))
    envelope = newer.read(payload, wire_corpus.address_of(path))
    assert not isinstance(envelope.body, messages.Unknown)
    return plain(envelope)


@pytest.mark.parametrize("path", RECORDED)
def test_what_a_release_said_is_understood_to_the_last_field(path: str) -> None:
    payload = (FOLDER / path).read_bytes()
    understood = read_today(path.partition("/")[2], payload)
    assert list(lost(json.loads(payload), understood)) == []


@pytest.mark.parametrize("path", [path for path in RECORDED if "/order/" in path])
def test_an_order_that_a_release_signed_is_verified_and_says_all_it_said(path: str) -> None:
    envelope = messages.decode((FOLDER / path).read_bytes(), wire_corpus.address_of(path.partition("/")[2]))
    assert isinstance(envelope.body, messages.SignedOrder)
    order = signatures.verify(envelope.body, trusted=TRUSTED)
    assert (order.node, order.action) == (NODE, Path(path).stem)
    assert list(lost(json.loads(envelope.body.payload), plain(order))) == []


def schema_of(release: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / release / SCHEMA_FILE).read_bytes())
    return found


def unreadable(schema: dict[str, Any], path: str, payload: bytes) -> list[str]:
    """Return why a program that reads by a schema cannot read what today's says, empty when it can.

    A kind of event, and an action, that it does not know are no fault: it keeps the one and refuses the other.
    """
    said = json.loads(payload)
    folder, _, name = path.partition("/")
    if folder == INSIDE:
        return _flaws(schema, name.partition(".")[0], said)
    known = {part["properties"]["type"]["enum"][0] for part in schema["$defs"].values() if "type" in _fields(part)}
    if said["body"]["type"] not in known:
        return [] if folder == "event" else [f"the kind {said['body']['type']} on the channel {folder} is new"]
    flaws = _flaws(schema, "Envelope", said)
    if folder == "order":
        order = json.loads(said["body"]["payload"])
        known_actions = schema["$defs"]["OrderAction"]["enum"]
        flaws += _flaws(schema, "Order", order) if order["action"] in known_actions else []
    return flaws


def _fields(part: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = part.get("properties", {})
    return fields


def _flaws(schema: dict[str, Any], name: str, said: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{name}"})
    return [error.message for error in validator.iter_errors(said)]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("path", sorted(set(TODAY) - {SCHEMA_FILE}))
def test_what_is_said_today_is_readable_to_a_release(release: str, path: str) -> None:
    assert unreadable(schema_of(release), path, TODAY[path]) == []


@pytest.mark.parametrize("release", RELEASES)
def test_every_word_that_a_release_may_say_is_still_known(release: str) -> None:
    ours = wire_corpus.schema()["$defs"]
    words = {name: set(part["enum"]) for name, part in schema_of(release)["$defs"].items() if "enum" in part}
    assert words
    assert not {name: gone for name, each in words.items() if (gone := each - set(ours[name]["enum"]))}


def test_this_release_is_recorded_with_every_kind_it_has() -> None:
    folder = FOLDER / wire_corpus.release()
    recorded = {str(path.relative_to(folder)) for path in folder.rglob("*.json")}
    assert recorded == set(TODAY), "make record-wire"


@pytest.mark.parametrize("path", [path for path in TODAY if path.endswith("full.json") and not path.startswith(INSIDE)])
def test_what_is_recorded_is_what_a_program_sends(path: str) -> None:
    address = wire_corpus.address_of(path)
    assert messages.encode(messages.decode(TODAY[path], address)) == TODAY[path]


def test_what_was_recorded_is_not_recorded_otherwise_unless_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [wire_corpus.main([], tmp_path), wire_corpus.main([], tmp_path)] == [0, 0]
    said = tmp_path / wire_corpus.release() / "event" / "finding.raised.full.json"
    said.write_bytes(b"{}")
    assert wire_corpus.main([], tmp_path) == 1
    assert f"{said}: is recorded otherwise" in capsys.readouterr().err
    assert said.read_bytes() == b"{}"
    assert wire_corpus.main(["--again"], tmp_path) == 0
    assert said.read_bytes() == TODAY["event/finding.raised.full.json"]


CHANGES = {
    "a field that is gone": ('"because":', '"reason":', "because"),
    "a field of another type": ('"observed_at":1790000000.5', '"observed_at":"then"', "then"),
    "a word that is not known": ('"action":"none"', '"action":"swap_tray"', "swap_tray"),
}


@pytest.mark.parametrize(("before", "after", "named"), CHANGES.values(), ids=CHANGES)
def test_these_tests_see_a_change_that_breaks_an_older_reader(before: str, after: str, named: str) -> None:
    payload = TODAY["event/finding.raised.full.json"].decode().replace(before, after, 1).encode()
    (flaw,) = unreadable(wire_corpus.schema(), "event/finding.raised.full.json", payload)
    assert named in flaw


def test_these_tests_see_a_field_that_is_no_longer_read() -> None:
    payload = TODAY["event/finding.raised.full.json"].replace(b'"serial":', b'"serial_number":')
    assert list(lost(json.loads(payload), read_today("event/finding.raised.full.json", payload))) == [
        ".body.finding.serial_number"
    ]
