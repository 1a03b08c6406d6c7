"""The operator's own file: a CSV of nodes and places, which every CMDB and spreadsheet can export.

The first line names the columns: `node`, and a kind of place for each other (`pool`, `rack`, `leaf`, `nvlink_domain`,
or any other). A node may be a hostlist (`gpu[001-128]`), so that a short file written by hand is enough; a cell may be
empty, and holds several names between `|`. Other lines about the same node add kinds, and may not contradict.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.schedulers.hostlist import expand
from controller.topology.source import ByName, FileSource, Placing, Problem, Unreadable, told
from wire.places import why_no_kind, why_no_place
from wire.topics import NAME

NODE = "node"
DELIMITERS = ",;\t"
SEVERAL = "|"

_RANGES = re.compile(r"\[[0-9,\-]*\]")
_SPARED = "\x1f"


def source(path: Path, interval_s: float = 60.0) -> FileSource[ByName]:
    """Return the file as a source."""
    return FileSource("file", path, parse, interval_s)


def parse(text: str, path: Path) -> ByName:
    """Return what the file says.

    Raises:
        Unreadable: with every problem, its line and column.
    """
    rows = _rows(text, path)
    first = next(rows, None)
    if first is None:
        raise Unreadable(f"{path}:1: the file is empty: its first line has to name the columns, `node,rack,leaf`")
    line, header = first
    columns = [name.strip() for name in header]
    problems = list(_flaws(columns, line))
    if problems:
        raise Unreadable(told(path, problems))
    table = _Table(columns)
    for number, cells in rows:
        table.take(number, cells)
    if table.problems:
        raise Unreadable(told(path, table.problems))
    return ByName(table.placing.nodes)


class _Table:
    """The rows so far, and what is wrong with them."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.placing = Placing()
        self.problems: list[Problem] = []
        self._lines: dict[tuple[str, str], int] = {}
        self._cells: dict[str, list[str]] = {}

    def take(self, line: int, cells: Sequence[str]) -> None:
        """Take one row in."""
        if len(cells) != len(self.columns):
            self.problems.append(Problem(line, "", f"{len(cells)} cells, and there are {len(self.columns)} columns"))
            return
        row = dict(zip(self.columns, (cell.strip() for cell in cells), strict=True))
        nodes = self._nodes(line, row.pop(NODE))
        for kind, cell in row.items():
            if names := self._names(line, kind, cell):
                self._put(line, nodes, kind, names)

    def _nodes(self, line: int, text: str) -> list[str]:
        if NAME.fullmatch(text):
            return [text]
        try:
            nodes = expand(text)
        except ValueError as error:
            self.problems.append(Problem(line, NODE, str(error)))
            return []
        wrong = next((node for node in nodes if not NAME.fullmatch(node)), None)
        if not nodes or wrong is not None:
            self.problems.append(Problem(line, NODE, f"{wrong or text!r} is not the name of a node"))
            return []
        return nodes

    def _names(self, line: int, kind: str, cell: str) -> list[str]:
        if cell in self._cells:
            return self._cells[cell]
        names = [name.strip() for name in cell.split(SEVERAL)] if cell else []
        flaws = list(filter(None, map(why_no_place, names)))
        self.problems += [Problem(line, kind, flaw) for flaw in flaws]
        if flaws:
            return []
        self._cells[cell] = names
        return names

    def _put(self, line: int, nodes: Sequence[str], kind: str, names: Sequence[str]) -> None:
        for node in nodes:
            before = self._lines.setdefault((node, kind), line)
            if before != line:
                self.problems.append(Problem(line, kind, f"line {before} has placed {node} already"))
                return
            self.placing.put(node, kind, *names)


def _rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that is neither empty nor a comment."""
    lines = text.removeprefix("\ufeff").splitlines()
    header = next((line for line in lines if _counts(line)), "")
    delimiter = next((each for each in DELIMITERS if each in header), ",")
    for number, line in enumerate(lines, 1):
        if _counts(line):
            try:
                row = next(csv.reader([_RANGES.sub(_spare_commas, line)], delimiter=delimiter), [])
            except csv.Error as error:
                raise Unreadable(told(path, [Problem(number, "", f"not a line of CSV: {error}")])) from error
            yield number, [cell.replace(_SPARED, ",") for cell in row]


def _spare_commas(ranges: re.Match[str]) -> str:
    """Keep the commas of `n[1,3]` from being taken for the ends of cells: nobody thinks of quoting them."""
    return ranges[0].replace(",", _SPARED)


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _flaws(columns: Sequence[str], line: int) -> Iterator[Problem]:
    if NODE not in columns:
        yield Problem(line, NODE, f"no column of that name; there are {', '.join(columns)}")
    for index, column in enumerate(columns):
        if column in columns[:index]:
            yield Problem(line, column, "the column is there twice")
        elif column != NODE and (flaw := why_no_kind(column)):
            yield Problem(line, column or f"column {index + 1}", flaw)
