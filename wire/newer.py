"""What a controller makes of messages of agents that are newer than itself.

Fields that it does not know are left out by the decoder. A kind of event that it does not know is kept as it came. A
word that it does not know, where one of a closed set is awaited, is taken for the one that promises and demands least,
and the reason for people says what the agent's own word was. Rules: docs/explanation/compatibility.md.

An agent needs none of this: it refuses what it does not know, and says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from checks.bench_outcome import Outcome
from checks.finding import Action, Verdict
from wire.messages import KINDS, MAX_KIND, Body, Envelope, Refused, Unknown, decode
from wire.topics import Address

LEAST: Final[Mapping[type[StrEnum], StrEnum]] = {
    Verdict: Verdict.UNKNOWN,
    Action: Action.NONE,
    Outcome: Outcome.ERROR,
}
"""Closed set → what stands in for a word of it that is not known. None of these causes anything by itself (I1)."""

REASON: Final = "because"
"""The field in which records that hold such words tell people why."""

MAX_WORD: Final = 40


class _Letter(msgspec.Struct, frozen=True):
    """An envelope whose body is not opened; see `Envelope`."""

    version: int
    node: str
    boot_id: str
    seq: int
    sent_at: float
    body: msgspec.Raw
    expires_at: float = 0.0
    correlation_id: str = ""
    reply_to: str = ""
    recorded_at: float = 0.0
    attempt: int = 0


class _Kind(msgspec.Struct, frozen=True):
    type: str


_letters = msgspec.json.Decoder(_Letter)
_kinds = msgspec.json.Decoder(_Kind)


def read(payload: bytes, address: Address) -> Envelope:
    """Return the message that `payload` holds, as `decode` does, and what can be understood of one of a newer agent.

    Raises:
        Refused: as `decode`.
    """
    try:
        return decode(payload, address)
    except Refused as refusal:
        envelope = _understood(payload, address) if str(refusal).startswith(("newer:", "malformed:")) else None
        if envelope is None:
            raise
        return envelope


def _understood(payload: bytes, address: Address) -> Envelope | None:
    """Return the message if it is whole but for words and kinds that are not known."""
    try:
        letter = _letters.decode(payload)
        kind = _kinds.decode(letter.body).type
        body = _body(kind, letter.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if letter.node != address.node:
        return None
    return Envelope(**{**msgspec.structs.asdict(letter), "body": body})


class _NoStandIn(Exception):
    """A word that is not known, and that nothing stands in for."""


def _body(kind: str, raw: msgspec.Raw) -> Body:
    if kind in KINDS:
        with contextlib.suppress(_NoStandIn):
            body: Body = msgspec.convert(_Mender().mended(msgspec.json.decode(raw), _shape()), Body)
            return body
    return Unknown(kind[:MAX_KIND], bytes(raw).decode())


@cache
def _shape() -> inspect.Type:
    return inspect.type_info(Body)


@cache
def _words(kind: type[StrEnum]) -> frozenset[str]:
    return frozenset(kind)


class _Mender:
    """Puts a word that is known in place of each that is not, in a document of a known shape."""

    def __init__(self) -> None:
        self._strange: list[str] = []
        self._fields_of: dict[type, dict[str, inspect.Type]] = {}

    def mended(self, document: Any, shape: inspect.Type) -> Any:
        """Return the document with its words replaced; what does not fit the shape is left as it is."""
        match shape:
            case inspect.EnumType(cls=words):
                return self._word(document, words)
            case inspect.UnionType(types=types):
                return self._one_of(document, types)
            case inspect.StructType() | inspect.DataclassType() if isinstance(document, dict):
                return self._record(document, shape)
            case inspect.DictType() if isinstance(document, dict):
                return {key: self.mended(value, shape.value_type) for key, value in document.items()}
            case inspect.ListType() | inspect.VarTupleType() if isinstance(document, list):
                return [self.mended(each, shape.item_type) for each in document]
            case _:
                return document

    def _word(self, said: Any, words: type) -> Any:
        if not isinstance(said, str) or said in _words(words):
            return said
        if words not in LEAST:
            raise _NoStandIn(said)
        self._strange.append(said[:MAX_WORD])
        return LEAST[words]

    def _one_of(self, document: Any, types: tuple[inspect.Type, ...]) -> Any:
        tagged = document.get("type") if isinstance(document, dict) else None
        for each in types:
            if isinstance(each, inspect.StructType) and each.tag in (None, tagged):
                return self.mended(document, each)
        return document

    def _record(self, document: dict[str, Any], shape: inspect.StructType | inspect.DataclassType) -> dict[str, Any]:
        fields = self._fields(shape)
        outer, self._strange = self._strange, []
        mended = {
            name: self.mended(value, fields[name]) if name in fields else value for name, value in document.items()
        }
        if self._strange and isinstance(mended.get(REASON), str):
            said = ", ".join(map(repr, self._strange))
            mended[REASON] += f" (Its agent is newer than this controller, which does not know its word {said}.)"
            self._strange = []
        self._strange = outer + self._strange
        return mended

    def _fields(self, shape: inspect.StructType | inspect.DataclassType) -> dict[str, inspect.Type]:
        if shape.cls not in self._fields_of:
            self._fields_of[shape.cls] = {each.encode_name: each.type for each in shape.fields}
        return self._fields_of[shape.cls]
