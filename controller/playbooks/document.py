"""Text to a tree of YAML values that know their lines: the strict part of YAML, and nothing that can surprise.

YAML 1.2 scalars; one document; no anchors, aliases, merges, tags or directives, so that what is read is what is
written and no small file can unfold into a large one. Size and depth are bounded before the tree is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from controller.playbooks.problems import Notes, excerpt

MAX_BYTES = 65_536
"""Source: our choice; the largest playbook that comes with fleetmend has 4 KiB."""
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
    """Return the file's one document; `None`, with the reason in the notes, when it cannot be read."""
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
    """Parse twice: the events are looked over one by one before anything is built from them.

    Besides its own errors, ruamel.yaml lets those of `int` and `chr` through for impossible escapes.
    """
    try:
        if not _plain(text, notes):
            return None
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        notes.add(line, "file", f"not YAML: {_one_line(error.problem or error.context)}", _advice(text, line))
        return None
    except (YAMLError, ValueError, OverflowError) as error:
        notes.add(1, "file", f"not YAML: {_one_line(str(error))}", "write printable text without odd escapes")
        return None
    return _value(node, "", notes)


def _plain(text: str, notes: Notes) -> bool:
    """Return whether the text has one document and uses nothing that is refused, noting the first thing that is not."""
    depth = documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        documents += isinstance(event, DocumentStartEvent)
        depth += _step(event)
        refused = _refused(event, documents, depth)
        if refused is not None:
            notes.add(_line(event), "file", *refused)
            return False
    if not documents:
        notes.add(1, "file", "it is empty", "write a playbook, beginning with `playbook: NAME`")
    return documents == 1


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


def _value(node: Node, path: str, notes: Notes) -> Value:
    line = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        return Table(line, tuple(_entries(node, path, notes)))
    if isinstance(node, SequenceNode):
        return Listing(line, tuple(_value(each, f"{path}[{index}]", notes) for index, each in enumerate(node.value)))
    assert isinstance(node, ScalarNode)
    kind = "text" if node.style else _CORE_TAGS.get(str(node.tag), "text")
    return Scalar(line, node.value, kind)


def _entries(node: MappingNode, path: str, notes: Notes) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            notes.add(line, path, "a key is a list or a mapping", "a key is one plain word")
            continue
        key = key_node.value
        here = f"{path}.{excerpt(key)[1:-1]}" if path else excerpt(key)[1:-1]
        if key in seen:
            notes.add(line, here, f"given a second time, first in line {seen[key]}", "keep one of the two")
            continue
        seen[key] = line
        is_absent = isinstance(value_node, ScalarNode) and not value_node.value and not value_node.style
        yield Entry(line, key, Scalar(line, "", "nothing") if is_absent else _value(value_node, here, notes))


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
