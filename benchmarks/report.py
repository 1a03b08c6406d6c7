"""How a benchmark says what it measured: a table for people, a JSON file for comparison over time."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `aim` is what it is meant to reach, empty when it only stands beside another."""

    what: str
    value: float
    unit: str
    aim: str = ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1, inclusive) of the sorted values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(what: str, values: Sequence[float], unit: str, aim: str = "") -> list[Row]:
    """Return median, p99 and maximum of a sample as rows. `aim` is what the p99 is meant to reach."""
    return [
        Row(f"{what}, p50", statistics.median(values), unit),
        Row(f"{what}, p99", percentile(values, 0.99), unit, aim),
        Row(f"{what}, max", max(values), unit),
    ]


def publish(name: str, rows: Sequence[Row], *, about: str) -> Path:
    """Print the rows as a table and write them as JSON; return the file."""
    table = Table(title=f"{name}: {about}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("aim")
    for row in rows:
        table.add_row(row.what, f"{row.value:,.3f}", row.unit, row.aim)
    Console(width=110).print(table)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    figures = [{"figure": row.what, "value": row.value, "unit": row.unit, "aim": row.aim} for row in rows]
    document = {"name": name, "about": about, "at": time.time(), "machine": platform.platform(), "figures": figures}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
