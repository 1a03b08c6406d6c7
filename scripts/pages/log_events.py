"""The page of every event that is logged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.pages.markdown import code, page, table

ROOT = Path(__file__).resolve().parents[2]
LOG_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
LOGGING_FOLDERS = ("agent", "cli", "controller", "wire")


@dataclass(slots=True)
class LogEvent:
    """One literal name, and where it is said."""

    levels: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


def log_events_page() -> str:
    """Return every event that our programs log."""
    intro = (
        "One event a line on stderr: JSON, or coloured text on a terminal. `event` is one of these literals; the same "
        "key means the same thing everywhere, and a unit is part of its name."
    )
    rows = [
        (
            code(name),
            ", ".join(sorted(e.levels)),
            ", ".join(code(k) for k in sorted(e.keys)),
            ", ".join(sorted(e.files)),
        )
        for name, e in sorted(collect_log_events().items())
    ]
    return page("Log events", intro, table(("event", "level", "keys", "said in"), rows))


def collect_log_events() -> dict[str, LogEvent]:
    """Return the events named in calls of `log`, or of a function that hands its `event` on to `log`."""
    events: dict[str, LogEvent] = {}
    for path in sorted(path for folder in LOGGING_FOLDERS for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        relays = dict(_relays(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name, level = _literal(call), _level(call) or relays.get(_called(call), "")
            if level and name:
                event = events.setdefault(name, LogEvent())
                event.levels.add(level)
                event.keys |= {keyword.arg for keyword in call.keywords if keyword.arg} - {"exc_info"}
                event.files.add(str(path.relative_to(ROOT)))
    return events


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _level(call: ast.Call) -> str:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in LOG_LEVELS:
        return ""
    is_log = isinstance(function.value, ast.Name) and function.value.id == "log"
    return ("error" if function.attr == "exception" else function.attr) if is_log else ""


def _literal(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    is_name = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return str(first.value) if isinstance(first, ast.Constant) and is_name else ""


def _relays(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if _level(call) and call.args and isinstance(call.args[0], ast.Name):
                yield function.name, _level(call)
