"""Tables for people. Where a terminal is too narrow for one, what does not fit stands below its row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

GAP: Final = 3
"""Columns of the terminal between two of a table: its padding and its box's."""

WIDE: Final = 32
"""So much a column that may wrap has to have; in less, sentences become columns of words. Source: our choice."""

INDENT: Final = 5


def table(*columns: str) -> Fitting:
    """Return an empty table; a column whose name ends in `*` takes the width that is left, and may wrap."""
    empty = Fitting(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        wide = name.endswith("*")
        empty.add_column(name.removesuffix("*"), no_wrap=not wide, overflow="fold" if wide else "ellipsis")
    return empty


class Fitting(Table):
    """A table that is never cut."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, or its rows with what does not fit below them."""
        widths = [_width(column, console, options) for column in self.columns]
        least = [
            width if column.no_wrap else min(width, WIDE) for width, column in zip(widths, self.columns, strict=True)
        ]
        if _all(least) <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._unfolded(widths, options.max_width)

    def _unfolded(self, widths: Sequence[int], room: int) -> Iterator[RenderableType]:
        kept = _kept(self.columns, widths, room)
        yield ""
        yield _line([Text(str(self.columns[number].header), "bold") for number in kept], [widths[n] for n in kept])
        yield Text(" " + "─" * (room - 2))
        others = [number for number in range(len(self.columns)) if number not in kept]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            yield _line([_text(row[number]) for number in kept], [widths[number] for number in kept])
            yield from self._below(row, others)
        yield ""
        if self.caption:
            yield self.caption

    def _below(self, row: Sequence[RenderableType], others: Sequence[int]) -> Iterator[RenderableType]:
        told = [(self.columns[number], _text(row[number])) for number in others]
        short = [_named(column, text) for column, text in told if column.no_wrap and text.plain]
        if short:
            yield Padding(Text("   ").join(short), (0, 0, 0, INDENT))
        wide = [(column, text) for column, text in told if not column.no_wrap]
        for column, text in wide:
            if text.plain:
                yield Padding(text if len(wide) == 1 else _named(column, text), (0, 0, 0, INDENT))


def _width(column: Column, console: Console, options: ConsoleOptions) -> int:
    return max(Measurement.get(console, options, each).maximum for each in (column.header, *column.cells))


def _all(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1) + 2


def _kept(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Return which columns stand beside each other: those that never wrap and hold something, as many as fit."""
    kept: list[int] = []
    for number, column in enumerate(columns):
        if not column.no_wrap or not any(_text(each).plain for each in column.cells):
            continue
        if _all([widths[each] for each in (*kept, number)]) > room:
            break
        kept.append(number)
    return kept or [0]


def _line(texts: Sequence[Text], widths: Sequence[int]) -> Padding:
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for width in widths:
        grid.add_column(width=width, no_wrap=True)
    grid.add_row(*texts)
    return Padding(grid, (0, 0, 0, 1))


def _named(column: Column, text: Text) -> Text:
    return Text.assemble((f"{column.header} ", "dim"), text)


def _text(renderable: RenderableType) -> Text:
    return renderable if isinstance(renderable, Text) else Text(str(renderable))
