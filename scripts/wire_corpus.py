"""What agents and controllers of this version say, byte for byte, for the tests of every later one to read.

Each kind of message is recorded twice: with every field filled in, and with those alone that have no default. Orders
are recorded once for each action. Beside them stands the JSON schema by which this version reads, so that a later one
can be held to what this one will understand. `make record-wire` runs it; docs/explanation/compatibility.md says when.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import inspect

from wire import bench, evidence, messages, orders, signatures
from wire.topics import Address, Channel

FOLDER: Final = Path(__file__).parent.parent / "tests" / "wire" / "recorded"
SCHEMA_FILE: Final = "schema.json"
INSIDE: Final = "inside"
"""Folder of what orders carry in their parameters."""

KEY: Final = Ed25519PrivateKey.from_private_bytes(b"signs what is recorded, no more!")
KEY_ID: Final = "recorded"
CELL: Final = "main"
NODE: Final = "gpu-017"
AT: Final = 1_790_000_000.5
READERS: Final[Mapping[str, Any]] = {
    "Envelope": messages.Envelope,
    "Order": orders.Order,
    "BenchWish": bench.BenchWish,
    "Grant": evidence.Grant,
}
"""What is read of bytes that another version wrote: messages, and what orders carry."""

CHANNELS: Final[Mapping[type, Channel]] = {
    messages.Status: Channel.STATUS,
    messages.BenchProgress: Channel.STATUS,
    messages.Presence: Channel.PRESENCE,
    messages.Stored: Channel.ACK,
    messages.SignedOrder: Channel.ORDER,
}
"""Where each kind of body travels; all others are events."""


def release() -> str:
    """Return the minor release of this checkout, such as 0.1."""
    return ".".join(version("fleetmend").split(".")[:2])


def corpus() -> dict[str, bytes]:
    """Return what is recorded: path below the release's folder → content."""
    found = {SCHEMA_FILE: msgspec.json.format(msgspec.json.encode(schema(), order="sorted"), indent=1) + b"\n"}
    for kind in get_args(messages.Body):
        if kind not in (messages.SignedOrder, messages.Unknown):
            channel, tag = CHANNELS.get(kind, Channel.EVENT), kind.__struct_config__.tag
            for full in (True, False):
                body = sample(inspect.type_info(kind), full=full)
                found[f"{channel}/{tag}.{_word(full=full)}.json"] = _message(body, channel, full=full)
    for action in orders.OrderAction:
        found[f"{Channel.ORDER}/{action}.json"] = _message(_signed(action), Channel.ORDER, full=True)
    for name in ("BenchWish", "Grant"):
        for full in (True, False):
            document = sample(inspect.type_info(READERS[name]), full=full)
            found[f"{INSIDE}/{name}.{_word(full=full)}.json"] = msgspec.json.encode(document)
    return found


def schema() -> dict[str, Any]:
    """Return the JSON schema of all that this version reads; `$defs` has each of READERS under its name."""
    _, parts = msgspec.json.schema_components(READERS.values(), ref_template="#/$defs/{name}")
    del parts["Unknown"]
    body = parts["Envelope"]["properties"]["body"]
    body["anyOf"] = [each for each in body["anyOf"] if not each["$ref"].endswith("/Unknown")]
    del body["discriminator"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": _plain(parts)}


def _plain(part: Any) -> Any:
    """Return a schema without its texts for people, which may change as they like."""
    if isinstance(part, list):
        return [_plain(each) for each in part]
    if not isinstance(part, dict):
        return part
    texts = {name for name in ("description", "title") if isinstance(part.get(name), str)}
    return {name: _plain(each) for name, each in part.items() if name not in texts}


def sample(shape: inspect.Type, *, full: bool, name: str = "") -> Any:
    """Return a document of a shape, whose texts are called after their fields, with the first word of each closed set.

    Args:
        full: with every field, not those alone that have no default.
        name: of the field that holds it.
    """
    match shape:
        case inspect.StructType() | inspect.DataclassType():
            tag = {shape.tag_field: shape.tag} if isinstance(shape, inspect.StructType) and shape.tag else {}
            fields = [field for field in shape.fields if full or field.required]
            return tag | {each.encode_name: sample(each.type, full=full, name=each.name) for each in fields}
        case inspect.UnionType(types=types):
            return sample(next(each for each in types if not isinstance(each, inspect.NoneType)), full=full, name=name)
        case inspect.DictType(value_type=values):
            return {f"a key of {name}": sample(values, full=full, name=name)}
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [sample(item, full=full, name=name)]
        case inspect.EnumType(cls=words):
            return str(next(iter(words)))
        case inspect.LiteralType(values=literals):
            return literals[0]
        case _:
            return _PLAIN[type(shape)](name)


_PLAIN: Final[Mapping[type, Any]] = {
    inspect.StrType: lambda name: f"some {name}",
    inspect.BoolType: lambda _: True,
    inspect.IntType: lambda _: 41,
    inspect.FloatType: lambda _: AT,
}


_SURROUNDINGS: Final = inspect.type_info(messages.Envelope)


def _message(body: dict[str, Any], channel: Channel, *, full: bool) -> bytes:
    """Return a message that never expires, with the number that its channel asks for."""
    document = sample(_SURROUNDINGS, full=full)
    document |= {"version": messages.VERSION, "node": NODE, "seq": 41 if channel is Channel.EVENT else 0, "body": body}
    return msgspec.json.encode(document | ({"expires_at": 0.0} if full else {}))


def _signed(action: orders.OrderAction) -> dict[str, Any]:
    document = sample(inspect.type_info(orders.Order), full=True) | {"node": NODE, "action": action}
    order = msgspec.convert(document, orders.Order)
    signed: dict[str, Any] = msgspec.to_builtins(signatures.sign(order, key_id=KEY_ID, key=KEY))
    return signed


def _word(*, full: bool) -> str:
    return "full" if full else "least"


def address_of(path: str) -> Address:
    """Return where a recorded message travelled, by its path below the release's folder."""
    return Address(CELL, NODE, Channel(path.partition("/")[0]))


def main(arguments: list[str], releases: Path = FOLDER) -> int:
    """Write the corpus of this checkout's release, and return the exit code: 1 when it was recorded otherwise."""
    folder, made = releases / release(), corpus()
    changed = [path for path, said in made.items() if (folder / path).exists() and (folder / path).read_bytes() != said]
    if changed and arguments != ["--again"]:
        for path in changed:
            sys.stderr.write(f"{folder / path}: is recorded otherwise\n")
        sys.stderr.write("What was released never changes. --again records a release anew that is not out yet.\n")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    sys.stdout.write(f"{folder}: {len(made)} files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
