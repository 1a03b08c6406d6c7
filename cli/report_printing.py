"""Tables of reports, as a terminal shows them."""

from __future__ import annotations

from rich import box
from rich.console import Group, JustifyMethod
from rich.table import Table

from cli.printing import cell
from controller.api import report_tables
from controller.api.report_tables import ReportTable
from controller.api.report_words import shown

ROWS = 15
"""Of one table in a terminal; files and --json have all."""

WIDE_TABLES = frozenset({"detection", "repair", "outcomes", "nodes"})


def titled(table: ReportTable, *, rows: int = ROWS) -> Group:
    """Return a table of a report with its title, what it counts, and so many rows of it."""
    title = cell(table.title, "bold")
    if not table.rows:
        return Group(title, cell(table.empty, "dim"))
    places = _columns_with_news(table)
    values = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in (table.columns[place] for place in places):
        is_text = column.kind == report_tables.TEXT
        justify: JustifyMethod = "left" if is_text else "right"
        values.add_column(column.title, justify=justify, overflow="fold")
    for row in table.rows[:rows]:
        values.add_row(*(cell(shown(row[place], table.columns[place].kind)) for place in places))
    if len(table.rows) > rows:
        values.caption = f"and {len(table.rows) - rows} more: --csv, --json"
    return Group(title, cell(table.meaning, "dim"), values)


def _columns_with_news(table: ReportTable) -> list[int]:
    """Return the columns to show; of a wide table those that have nothing but zeros are left to files and --json."""
    every = range(len(table.columns))
    if table.name not in WIDE_TABLES:
        return list(every)
    return [place for place in every if any(row[place] for row in table.rows)]
