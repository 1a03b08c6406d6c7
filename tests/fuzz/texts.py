"""Real inputs of parsers: texts captured on hosts, what the tests of a parser give it, and examples of a schema."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import inspect

from tests.fuzz.target import Texts

ROOT: Final = Path(__file__).parents[2]
LONGEST_BYTES: Final = 12_000
"""Of a real text; a longer one is cut down, so that a parser sees many inputs in its time."""

SHORTEST_LITERAL: Final = 6
MOST_EXAMPLES: Final = 80


def files(*patterns: str) -> Texts:
    """Return what files hold, by patterns below the checkout."""
    return lambda: _files(patterns)


def said_in(*modules: str) -> Texts:
    """Return every text that a test module spells out: what the parser under test is given there, and more."""
    return lambda: [text for module in modules for text in _literals(module)]


def examples(*kinds: Any) -> Texts:
    """Return messages of these types: one with all that can be said, one with the least."""
    return lambda: _examples(kinds)


def literal(*texts: str | bytes) -> Texts:
    """Return these."""
    return lambda: [text if isinstance(text, bytes) else text.encode() for text in texts]


def replaced(source: Texts, old: bytes, new: bytes) -> Texts:
    """Return these texts with something else in them."""
    return lambda: [text.replace(old, new) for text in source()]


def both(*sources: Texts) -> Texts:
    """Return what each of these gives."""
    return lambda: [text for source in sources for text in source()]


@cache
def _files(patterns: tuple[str, ...]) -> Sequence[bytes]:
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern)) if path.is_file()]
    assert found, f"no file is there: {patterns}"
    return [_shortened(path.read_bytes()) for path in found]


@cache
def _literals(module: str) -> Sequence[bytes]:
    tree = ast.parse((ROOT / module).read_text())
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    said = [value for value in constants if isinstance(value, str | bytes) and len(value) >= SHORTEST_LITERAL]
    texts = [value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value for value in said]
    return [_shortened(text) for text in dict.fromkeys(texts)]


def _shortened(text: bytes) -> bytes:
    if len(text) <= LONGEST_BYTES:
        return text
    try:
        document = json.loads(text)
    except ValueError:
        return text[: text.rfind(b"\n", 0, LONGEST_BYTES) + 1] or text[:LONGEST_BYTES]
    return json.dumps(_thinned(document)).encode()


def _thinned(value: Any) -> Any:
    """Return the document with the first two of each list."""
    if isinstance(value, dict):
        return {key: _thinned(each) for key, each in value.items()}
    return [_thinned(each) for each in value[:2]] if isinstance(value, list) else value


# --- examples of a schema --------------------------------------------------------------------------------------------


@cache
def _examples(kinds: tuple[Any, ...]) -> Sequence[bytes]:
    return [json.dumps(value).encode() for kind in kinds for value in _of(inspect.type_info(kind), depth=0)]


def _of(info: inspect.Type, *, depth: int) -> Iterator[Any]:
    """Yield one to a few values of a type."""
    match info:
        case inspect.UnionType():
            for each in info.types:
                yield from _of(each, depth=depth)
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            yield from _objects(info, depth)
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            yield [] if depth > 5 else list(_of(info.item_type, depth=depth + 1))[:8]
        case inspect.TupleType():
            yield [next(_of(each, depth=depth + 1)) for each in info.item_types]
        case inspect.DictType():
            yield {"a": next(_of(info.value_type, depth=depth + 1))} if depth <= 5 else {}
        case inspect.EnumType():
            yield from [each.value for each in info.cls]
        case inspect.LiteralType():
            yield from info.values
        case _:
            yield _plain(info)


def _objects(info: Any, depth: int) -> Iterator[dict[str, Any]]:
    tag = {info.tag_field: info.tag} if getattr(info, "tag_field", None) else {}
    if depth > 5:
        yield tag
        return
    whole = {each.encode_name: list(_of(each.type, depth=depth + 1)) for each in info.fields}
    count = max(map(len, whole.values()), default=1) if depth < 2 else 2
    for index in range(min(count, MOST_EXAMPLES)):
        yield tag | {name: values[min(index, len(values) - 1)] for name, values in whole.items() if values}
    yield tag | {each.encode_name: whole[each.encode_name][0] for each in info.fields if each.required}


def _plain(info: inspect.Type) -> Any:
    match info:
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 7
        case inspect.FloatType():
            return 1_764_000_000.5
        case inspect.NoneType():
            return None
        case inspect.RawType() | inspect.AnyType():
            return {"name": "gpu-1"}
    return "gpu-1"
