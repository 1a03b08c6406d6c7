"""The page of what travels over MQTT."""

from __future__ import annotations

import ast
import inspect
import textwrap
from enum import StrEnum

import msgspec

import checks.finding
import wire.messages
import wire.orders
import wire.topics
from scripts.pages.docstrings import attributes_of, doc, member_docs
from scripts.pages.markdown import code, page, table
from wire.messages import Unknown


def topics_page() -> str:
    """Return what travels over MQTT."""
    channels = member_docs(wire.topics.Channel)
    rows = [(code(channel.value), channels[channel.name]) for channel in wire.topics.Channel]
    bodies = [
        kind
        for _, kind in inspect.getmembers(wire.messages, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is not None and kind is not Unknown
    ]
    inner = (wire.messages.CheckLevel, wire.messages.NodeFacts)
    return page(
        "Topics and messages",
        doc(wire.topics),
        table(("channel", "who says what"), rows),
        f"Messages are JSON, version {wire.messages.VERSION}, at most {wire.messages.MAX_BYTES} bytes.",
        _record("Envelope", wire.messages.Envelope),
        "## Bodies\n\n`type` says which one it is.",
        *(_record(f"type: {kind.__struct_config__.tag}", kind) for kind in sorted(bodies, key=_tag)),
        "## Parts of bodies",
        *(_record(kind.__name__, kind) for kind in inner),
        _record("Finding", checks.finding.Finding),
        _record("Order (the payload that is signed)", wire.orders.Order),
        "## Words",
        _members("Verdict", checks.finding.Verdict),
        _members("Action, weakest first", checks.finding.Action),
        _members("OrderAction", wire.orders.OrderAction),
    )


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _record(title: str, kind: type) -> str:
    said = attributes_of(kind) | member_docs(kind)
    defaults = _defaults(kind)
    rows = [
        (code(name), code(str(annotation)), code(defaults.get(name, "")) or "required", said.get(name, ""))
        for name, annotation in inspect.get_annotations(kind).items()
    ]
    return f"### {title}\n\n{doc(kind)}\n\n{table(('field', 'type', 'default', 'meaning'), rows)}"


def _defaults(kind: type) -> dict[str, str]:
    """Return the defaults of a class as they are written."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    written = {
        ast.unparse(line.target): ast.unparse(line.value)
        for line in tree.body
        if isinstance(line, ast.AnnAssign) and line.value is not None
    }
    return {name: "{}" if text == "field(default_factory=dict)" else text for name, text in written.items()}


def _members(title: str, kind: type[StrEnum]) -> str:
    said = member_docs(kind)
    rows = [(code(str(value)), said.get(name, "")) for name, value in kind.__members__.items()]
    head, shown = (("value", "meaning"), rows) if any(text for _, text in rows) else (("value",), [r[:1] for r in rows])
    return f"### {title}\n\n{doc(kind)}\n\n{table(head, shown)}"
