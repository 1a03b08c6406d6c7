"""The page of what history decides by: bursts and every threshold, with its value and where it comes from."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType

from controller.policy import bursts, history, lemon, peers, probation
from controller.policy.bursts import BURSTS, SYMPATHIES
from scripts.pages.markdown import code, page, table

MODULES = (bursts, history, probation, lemon, peers)
COLUMNS = ("threshold", "value", "why, and from where")


def history_rules_page() -> str:
    """Return the rules by which history decides."""
    intro = (
        "How these are used is told in [how history decides](../explanation/history.md). Times are seconds, and are "
        "divided by `simulated_speedup` for simulated nodes where they are about a part's past."
    )
    burst_rows = [
        (burst.name, ", ".join(map(code, sorted(burst.fault_classes))), burst.because, burst.source) for burst in BURSTS
    ]
    sympathy_rows = [
        (", ".join(map(code, sorted(s.followers))), ", ".join(map(code, sorted(s.roots))), s.because, s.source)
        for s in SYMPATHIES
    ]
    return page(
        "Rules of history",
        intro,
        "## Bursts\n\n" + table(("burst", "fault classes of one part", "because", "source"), burst_rows),
        "## Sympathy\n\n" + table(("fault classes", "are told for", "because", "source"), sympathy_rows),
        *(f"## {_title(module)}\n\n{table(COLUMNS, list(_thresholds(module)))}" for module in MODULES),
    )


def _title(module: ModuleType) -> str:
    return f"Thresholds: {module.__name__.rpartition('.')[2]}"


def _thresholds(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Yield the module's constants that have a docstring; one docstring may be for several lines right above it."""
    above: list[str] = []
    last_line = 0
    for node in ast.parse(inspect.getsource(module)).body:
        if node.lineno != last_line + 1:
            above = []
        last_line = node.end_lineno or node.lineno
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper():
            above.append(ast.unparse(node.targets[0]))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            why = " ".join(str(node.value.value).split())
            yield from ((code(name), _value(getattr(module, name)), why) for name in above)


def _value(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(map(code, sorted(value)))
    return f"{value:.10g}" if isinstance(value, float) else str(value)
