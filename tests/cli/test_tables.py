"""Tables at terminals of every width: nothing is cut, and no column of words comes about."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from cli.printing import cell, state
from cli.tables import Fitting, table

WHY = "Handed to people: still found on fresh readings: Xid 79 (GPU has fallen off the bus)"


def shown(made: Fitting, width: int) -> list[str]:
    """Return the lines at a terminal of this width."""
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(made)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def incidents() -> Fitting:
    made = table("incident", "node", "state", "size", "opened (UTC)", "why*")
    made.add_row(cell("inc-000001"), cell("n1"), state("handed_over"), "", "2026-11-28 13:06:15", cell(WHY))
    made.add_row(cell("inc-000002"), cell("n22"), state("ok"), "", "2026-11-28 13:06:16", "")
    return made


def test_where_there_is_room_it_is_a_table() -> None:
    lines = shown(incidents(), 200)
    assert lines[1].split() == ["incident", "node", "state", "size", "opened", "(UTC)", "why"]
    assert lines[3].endswith(f"2026-11-28 13:06:15   {WHY}")


def test_where_there_is_none_sentences_stand_below_their_row_and_empty_columns_are_left_out() -> None:
    assert shown(incidents(), 80) == [
        "",
        " incident     node   state         opened (UTC)",
        f" {'─' * 78}",
        " inc-000001   n1     handed over   2026-11-28 13:06:15",
        "     Handed to people: still found on fresh readings: Xid 79 (GPU has fallen off",
        "     the bus)",
        " inc-000002   n22    ● ok          2026-11-28 13:06:16",
        "",
    ]


def test_what_is_one_of_several_is_named() -> None:
    made = table("check", "source", "a column that is long", "verdicts*", "actions*")
    made.add_row("gpu.xid", "kernel_log", "x" * 12, "failed, degraded", "reset_gpu, " * 9)
    made.caption = "and 3 more"
    lines = shown(made, 42)
    assert lines[3:6] == [
        " gpu.xid   kernel_log",
        "     a column that is long xxxxxxxxxxxx",
        "     verdicts failed, degraded",
    ]
    assert lines[-1] == "and 3 more"


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120])
def test_nothing_is_cut_and_no_line_is_longer_than_the_terminal(width: int) -> None:
    lines = shown(incidents(), width)
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    assert all(each in text for each in ("inc-000001", "n22", "handed over", "2026-11-28 13:06:15", WHY))
    assert max(map(len, lines)) <= width
