"""The page that sets our checks beside other tools', signal by signal, from docs/data/coverage.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from scripts.pages.markdown import anchor, page, table

SOURCE = Path(__file__).resolve().parents[2] / "docs/data/coverage.toml"
CASES = "../../tests/cases"

Sight = Literal["yes", "partly", "shown", "no", "?"]


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signal: our checks of it, and what each other tool makes of it, in the order of the file's `peers`."""

    signal: str
    checks: tuple[str, ...]
    peers: tuple[Sight, ...]


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signals of one kind of hardware."""

    name: str
    signals: tuple[Signal, ...]


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    peers: tuple[str, ...]
    family: tuple[Family, ...]


def load_coverage() -> Coverage:
    """Return what the file says."""
    return msgspec.convert(tomllib.loads(SOURCE.read_text()), type=Coverage)


def coverage_page() -> str:
    """Return the page."""
    coverage = load_coverage()
    intro = (
        "Which signals tell a node's health, and who gives a verdict on them: `yes`; `partly` (a lifetime total in "
        "place of a rate, one link layer of two); `shown` (counted, without a verdict); `no`; `?` (not found in what "
        "we read). Read from the others' sources and documents of autumn 2026: a newer version may do more. Each check "
        "of ours has its cases: recordings with their origin and what must be said of them. The list is ours, which "
        "favours us; and nothing here was tried on a GPU, NPU or adapter yet."
    )
    parts = [text for family in coverage.family for text in _family(family, coverage.peers)]
    return page("Coverage beside other tools", intro, _summary(coverage), *parts)


def _summary(coverage: Coverage) -> str:
    signals = [signal for family in coverage.family for signal in family.signals]
    rows = [_counts(name, [signal.peers[place] for signal in signals]) for place, name in enumerate(coverage.peers)]
    return table((f"of {len(signals)} signals", "a verdict", "a part of it", "shown only"), rows)


def _counts(name: str, sights: list[Sight]) -> tuple[str, str, str, str]:
    return name, *(str(sights.count(sight)) for sight in ("yes", "partly", "shown"))  # type: ignore[return-value]


def _family(family: Family, peers: tuple[str, ...]) -> tuple[str, str]:
    rows = [(signal.signal, ", ".join(map(_link, signal.checks)), *signal.peers) for signal in family.signals]
    return f"## {family.name}", table(("signal", "fleetmend", *peers), rows)


def _link(check: str) -> str:
    return f"[`{check}`](checks.md#{anchor(check)}) ([cases]({CASES}/{check}))"
