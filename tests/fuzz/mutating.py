"""Inputs that nobody meant: real texts that were mutilated, and texts made up of their words.

Two ways. `mutated` takes a real text and breaks it: in its bytes, in its words, or in its structure where it is JSON.
`made_up` builds a text that was never whole: JSON of any shape with the keys of the real ones, or lines of their words
in an order that is likely. What is drawn follows from the random generator alone, so a seed says which inputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, Final

MOST_BYTES: Final = 65_536
"""Of an input, but for the few that are made huge on purpose."""

STRANGE: Final = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        "\u202e".encode(),
        "\u2028".encode(),
        b"\x1b[2J",
        b"\x7f",
        b"\r\n",
        b"\xc2\x85",
    ),
    *(
        "\u0664\u0662".encode(),
        "\u00b2".encode(),
        "\u0130".encode(),
        b"\xef\xbb\xbf",
        b"\\ud800",
        b"\\u0000",
        b"%s%n",
        b"{}",
    ),
    *(
        b"-1",
        b"0",
        b"-0.0",
        b"1e400",
        b"-1e400",
        b"1e-400",
        b"NaN",
        b"Infinity",
        b"nan",
        b"inf",
        b"0x",
        b"1_000",
        b"+5",
    ),
    *(b"18446744073709551616", b"-9223372036854775809", b"9" * 400, b"9" * 4_400, b"1" + b"0" * 40, b"0" * 60 + b"7"),
    *(
        b"../../etc/passwd",
        b"/dev/zero",
        b"<script>",
        b"';--",
        b"[" * 64,
        b"]",
        b"{" * 64,
        b"}",
        b'"',
        b"'",
        b",",
        b":",
        b"=",
    ),
    *(
        b"null",
        b"true",
        b"[]",
        b'""',
        b"!!python/object:os.system",
        b"&a [*a]",
        b"<<: *a",
        b"[[a]]",
        b"a.b.c=1",
        b"2026-13-45",
    ),
    *(b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:60Z", b"12:60:61", b"gpu[1-999999999]", b"n[01-10,[2]", b"a|" * 50),
)
"""What has broken parsers before: characters that are none, numbers beyond any type, ends that never come."""

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e300, -1e300, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400),
    *(
        "",
        " ",
        "\0",
        "0",
        "-1",
        "NaN",
        "1e999",
        "ß",
        "\u202e",
        "\u2028",
        "٤٢",
        "²",
        "a" * 300,
        "/",
        "..",
        "../x",
        "\n",
        "<b>",
    ),
    *([], {}, [[]], [None], {"": ""}, {"": {}}, [0] * 40, float("nan"), float("inf"), "9" * 4_400, "\ud800"),
)

_WORD = re.compile(rb"\w+|\s+|[^\w\s]")
_NUMBER = re.compile(rb"\d+")


@dataclass(slots=True)
class Corpus:
    """Real texts of one parser, and what they are made of."""

    texts: Sequence[bytes]
    words: list[bytes] = field(init=False)
    keys: list[str] = field(init=False)
    leaves: list[Any] = field(init=False)
    documents: list[Any] = field(init=False)
    follows: dict[bytes, list[bytes]] = field(init=False)

    def __post_init__(self) -> None:
        pieces = [_WORD.findall(text[:20_000]) for text in self.texts]
        self.words = sorted({piece for words in pieces for piece in words}) or [b"a"]
        self.follows = {}
        for words in pieces:
            for one, following in pairwise(words[:3_000]):
                self.follows.setdefault(one, []).append(following)
        self.documents = [found for text in self.texts if isinstance(found := _json_of(text), dict | list)]
        keys: dict[str, None] = {}
        leaves: dict[str, Any] = {}
        for document in self.documents:
            _collect(document, keys, leaves)
        self.keys, self.leaves = list(keys), list(leaves.values())


def input_of(corpus: Corpus, random: Random) -> bytes:
    """Return one input."""
    return (made_up if random.random() < 0.25 else mutated)(corpus, random)


def mutated(corpus: Corpus, random: Random) -> bytes:
    """Return a real text that was broken in one to four ways."""
    text = random.choice(corpus.texts)
    if corpus.documents and random.random() < 0.6:
        text = _dumped(_bent(random.choice(corpus.documents), corpus, random), random)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        text = random.choice(_WAYS)(text, corpus, random)
    return text[:MOST_BYTES]


def made_up(corpus: Corpus, random: Random) -> bytes:
    """Return a text that was never real."""
    if corpus.documents and random.random() < 0.6:
        return _dumped(_any_json(corpus, random, depth=0), random)[:MOST_BYTES]
    word, written = random.choice(corpus.words), []
    for _ in range(random.choice((1, 8, 40, 200))):
        written.append(word if random.random() < 0.95 else random.choice(STRANGE))
        word = random.choice(corpus.follows.get(word) or corpus.words)
    return b"".join(written)[:MOST_BYTES]


# --- bytes and words -------------------------------------------------------------------------------------------------

Way = Callable[[bytes, Corpus, Random], bytes]


def _place(text: bytes, random: Random) -> int:
    return random.randrange(len(text) + 1)


def _flip(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    changed = bytearray(text)
    for _ in range(random.choice((1, 1, 3, 16))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    return text[: _place(text, random)] if random.random() < 0.7 else text[_place(text, random) :]


def _left_out(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    at = _place(text, random)
    return text[:at] + text[at + random.choice((1, 2, 8, 64)) :]


def _put_in(text: bytes, corpus: Corpus, random: Random) -> bytes:
    at = _place(text, random)
    return text[:at] + random.choice((random.choice(STRANGE), random.choice(corpus.words))) + text[at:]


def _spliced(text: bytes, corpus: Corpus, random: Random) -> bytes:
    other = random.choice(corpus.texts)
    return text[: _place(text, random)] + other[_place(other, random) :]


def _doubled(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    """Say a part again: keys come twice, lists grow."""
    start = _place(text, random)
    part = text[start : start + random.choice((1, 10, 100, 1_000))]
    return text[:start] + part * random.choice((2, 2, 3, 50)) + text[start + len(part) :]


def _line_moved(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    lines = text.splitlines(keepends=True)
    if len(lines) > 1:
        line = lines.pop(random.randrange(len(lines)))
        lines[(at := random.randrange(len(lines) + 1)) : at] = [line] * random.choice((0, 1, 2))
    return b"".join(lines)


def _word_changed(text: bytes, corpus: Corpus, random: Random) -> bytes:
    found = list(_WORD.finditer(text[:20_000]))
    if not found:
        return text
    word = random.choice(found)
    new = random.choice((random.choice(corpus.words), random.choice(STRANGE), b""))
    return text[: word.start()] + new + text[word.end() :]


def _number_changed(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    found = list(_NUMBER.finditer(text[:20_000]))
    if not found:
        return text
    number = random.choice(found)
    kept = number[0] if len(number[0]) < 300 else b"0"
    other = (b"%d" % (int(kept) + random.choice((-1, 1))), kept * 30, b"-" + kept, kept + b".5", random.choice(STRANGE))
    return text[: number.start()] + random.choice(other) + text[number.end() :]


def _deep(text: bytes, _corpus: Corpus, random: Random) -> bytes:
    at = _place(text, random)
    opened, closed = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"- ", b""), (b"a.", b"")))
    depth = random.choice((8, 120, 1_200, 6_000))
    return text[:at] + opened * depth + (closed * depth if random.random() < 0.5 else b"") + text[at:]


_WAYS: Final[tuple[Way, ...]] = (
    *(_flip, _cut, _left_out, _put_in, _put_in, _spliced, _doubled),
    *(_line_moved, _word_changed, _word_changed, _number_changed, _number_changed, _deep),
)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json_of(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _collect(value: Any, keys: dict[str, None], leaves: dict[str, Any]) -> None:
    if isinstance(value, dict):
        keys.update(dict.fromkeys(value))
        for each in value.values():
            _collect(each, keys, leaves)
    elif isinstance(value, list):
        for each in value:
            _collect(each, keys, leaves)
    elif len(leaves) < 400:
        leaves.setdefault(repr(value), value)


def _dumped(value: Any, random: Random) -> bytes:
    """Return the document as JSON, now and then with a key twice."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    if random.random() < 0.05 and (at := text.find(b"{")) >= 0 and (end := text.find(b",", at)) > 0:
        return text[: at + 1] + text[at + 1 : end + 1] + text[at + 1 :]
    return text


def _bent(value: Any, corpus: Corpus, random: Random) -> Any:
    """Return the document with one to three of its values changed."""
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _bent_once(value, corpus, random)
    return value


def _bent_once(value: Any, corpus: Corpus, random: Random) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        bent = _bent_once(value[key], corpus, random)
        changed = {name: (bent if name == key else each) for name, each in value.items()}
        match random.randrange(12):
            case 0:
                del changed[key]
            case 1:
                changed[random.choice(corpus.keys or ["a"])] = changed.pop(key)
            case 2:
                changed[random.choice(("", "\0", "a" * 300, "__proto__", "ß"))] = changed[key]
        return changed
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        return [*value[:at], _bent_once(value[at], corpus, random), *value[at + 1 :]]
    return _other(value, corpus, random)


def _other(value: Any, corpus: Corpus, random: Random) -> Any:
    match random.randrange(6):
        case 0 if corpus.leaves:
            return random.choice(corpus.leaves)
        case 1:
            return [value] * random.choice((0, 1, 3))
        case 2:
            return {random.choice(corpus.keys or ["a"]): value}
        case 3:
            return str(value)
    return random.choice(VALUES)


def _any_json(corpus: Corpus, random: Random, *, depth: int) -> Any:
    kind = random.randrange(10) if depth < 6 else 9
    if kind < 5:
        keys = random.choices(corpus.keys or ["a"], k=random.randrange(6))
        return {key: _any_json(corpus, random, depth=depth + 1) for key in keys}
    if kind < 7:
        return [_any_json(corpus, random, depth=depth + 1) for _ in range(random.randrange(4))]
    return random.choice(corpus.leaves) if corpus.leaves and random.random() < 0.6 else random.choice(VALUES)
