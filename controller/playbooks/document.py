"""Text to a tree of YAML values that know their lines: the strict part of YAML, and nothing that can surprise.

YAML 1.2 scalars; one document; no anchors, aliases, merges, tags or directives, so that what is read is what is
written and no small file can unfold into a large one. Size and depth are bounded before the tree is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from controller.playbooks.problems import Notes, excerpt

MAX_BYTES = 65_536
"""Source: our choice; the largest playbook that comes with fleetmend has 4 KiB."""
MOST_KEPT = 256
"""Documents that are kept as they were read. Source: our choice; fleetmend comes with 71."""
MAX_DEPTH = 8
"""Source: our choice; a playbook nests five deep (file, steps, step, parameters, value)."""

_CORE_TAGS = {
    "tag:yaml.org,2002:bool": "truth",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:null": "nothing",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `kind` is text, number, truth or nothing, as YAML 1.2 sees it; `text` is what is written."""

    line: int
    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Listing:
    """Values in order."""

    line: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a table, with its value."""

    line: int
    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class Table:
    """Keys with their values. No key is there twice."""

    line: int
    entries: tuple[Entry, ...]


Value = Scalar | Listing | Table


def say(value: Value) -> str:
    """Return what a value is, for an error."""
    match value:
        case Table():
            return "it is a mapping"
        case Listing():
            return "it is a list"
        case Scalar(kind="nothing"):
            return "it is empty"
        case Scalar(kind="text"):
            return f"{excerpt(value.text)} is text"
        case Scalar(kind="truth"):
            return f"{value.text} is true or false"
        case _:
            return f"{excerpt(value.text)} is a number"


def read_document(content: bytes, notes: Notes) -> Value | None:
    """Return the file's one document; `None`, with the reason in the notes, when it cannot be read.

    What was read without a flaw is kept: when playbooks are loaded again, only what changed is read again.
    """
    flawless = _flawless(content)
    return flawless if flawless is not None else _read(content, notes)


@lru_cache(maxsize=MOST_KEPT)
def _flawless(content: bytes) -> Value | None:
    notes = Notes("")
    value = _read(content, notes)
    return None if notes.problems else value


def _read(content: bytes, notes: Notes) -> Value | None:
    if len(content) > MAX_BYTES:
        notes.add(1, "file", f"{len(content)} bytes", f"a playbook has at most {MAX_BYTES} bytes")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        notes.add(line, "file", f"byte {content[error.start]:#04x} is not UTF-8", "save it as UTF-8")
        return None
    return _parse(text, notes)


def _parse(text: str, notes: Notes) -> Value | None:
    """Parse; the events are looked over one by one before anything is built from them.

    Besides its own errors, ruamel.yaml lets those of `int` and `chr` through for impossible escapes.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        events = _plain(yaml.parse(text), notes)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        notes.add(line, "file", f"not YAML: {_one_line(error.problem or error.context)}", _advice(text, line))
        return None
    except (YAMLError, ValueError, OverflowError) as error:
        notes.add(1, "file", f"not YAML: {_one_line(str(error))}", "write printable text without odd escapes")
        return None
    return _Tree(iter(events), yaml.resolver, notes).value("") if events else None


def _plain(parsed: Iterator[Event], notes: Notes) -> list[Event]:
    """Return the events of the text's one document, empty when it uses what is refused; the first of that is noted."""
    depth = documents = 0
    events: list[Event] = []
    for event in parsed:
        documents += isinstance(event, DocumentStartEvent)
        depth += _step(event)
        refused = _refused(event, documents, depth)
        if refused is not None:
            notes.add(_line(event), "file", *refused)
            return []
        if isinstance(event, NodeEvent | CollectionEndEvent):
            events.append(event)
    if not documents:
        notes.add(1, "file", "it is empty", "write a playbook, beginning with `playbook: NAME`")
    return events


def _step(event: Event) -> int:
    return isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)


def _refused(event: Event, documents: int, depth: int) -> tuple[str, str] | None:
    if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
        return "a % directive is not allowed", "remove it: playbooks are plain YAML 1.2"
    if documents > 1:
        return "a second document begins here", "put one playbook into one file"
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} deep", "a playbook is flat: keys, lists of steps, their parameters"
    if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
        return "anchors and aliases (`&`, `*`) are not allowed", "write the value out where it is used"
    if getattr(event, "ctag", None):
        return "a tag (`!`) is not allowed", "write the plain value"
    return None


@dataclass(frozen=True, slots=True)
class _Tree:
    """Builds values from events in their order. Every collection among them ends, or none had been parsed."""

    events: Iterator[Event]
    resolver: VersionedResolver
    notes: Notes

    def value(self, path: str) -> Value:
        """Return the value that comes next."""
        return self._value(next(self.events), path)

    def _value(self, event: Event, path: str) -> Value:
        line = _line(event)
        match event:
            case MappingStartEvent():
                return Table(line, tuple(self._entries(path)))
            case SequenceStartEvent():
                return Listing(line, tuple(self._items(path)))
        assert isinstance(event, ScalarEvent)
        return Scalar(line, event.value, self._kind(event))

    def _kind(self, event: ScalarEvent) -> str:
        if event.style:
            return "text"
        return _CORE_TAGS.get(str(self.resolver.resolve(ScalarNode, event.value, event.implicit)), "text")

    def _items(self, path: str) -> Iterator[Value]:
        for index in count():
            event = next(self.events)
            if isinstance(event, CollectionEndEvent):
                return
            yield self._value(event, f"{path}[{index}]")

    def _entries(self, path: str) -> Iterator[Entry]:
        seen: dict[str, int] = {}
        while not isinstance(event := next(self.events), CollectionEndEvent):
            line = _line(event)
            if not isinstance(event, ScalarEvent):
                self.notes.add(line, path, "a key is a list or a mapping", "a key is one plain word")
                self._skip(event)
                self._skip(next(self.events))
                continue
            key = event.value
            here = f"{path}.{excerpt(key)[1:-1]}" if path else excerpt(key)[1:-1]
            following = next(self.events)
            if key in seen:
                self.notes.add(line, here, f"given a second time, first in line {seen[key]}", "keep one of the two")
                self._skip(following)
                continue
            seen[key] = line
            is_absent = isinstance(following, ScalarEvent) and not following.value and not following.style
            yield Entry(line, key, Scalar(line, "", "nothing") if is_absent else self._value(following, here))

    def _skip(self, event: Event) -> None:
        """Go to the end of the value that begins so."""
        depth = _step(event)
        while depth:
            depth += _step(next(self.events))


def _line(event: Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1


def _one_line(text: str | None) -> str:
    return " ".join((text or "it cannot be parsed").split())[:160]


def _advice(text: str, line: int) -> str:
    lines = text.split("\n")
    if line <= len(lines) and "\t" in lines[line - 1]:
        return "indent with spaces, never with tabs"
    return "check indentation, quotes and brackets in this line and the one before"
