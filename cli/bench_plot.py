"""A picture of bandwidth by size for a terminal: the frame is plotext's, the legend below it ours.

Every line has a mark as well as a colour, so that a picture without colours can be read too.
"""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any, Final

import plotext
from rich.console import Group
from rich.text import Text

from cli.printing import cell
from controller.api.bench_charts import FLOOR, PEERS, Chart, Line, size_ticks, size_words, value_ticks

HEIGHT: Final = 17
MOST_WIDTH: Final = 100

MEASURED_MARKS: Final = (("•", "cyan"), ("▪", "magenta"), ("◦", "blue"), ("×", "bright_black"))
PEERS_MARKS: Final = (("▵", "green"), ("▿", "green"))
FLOOR_MARKS: Final = (("▬", "red"), ("▭", "red"))

Mark = tuple[str, str]


def plot(chart: Chart, *, width: int) -> Group:
    """Return the picture, at most `width` columns wide."""
    marked = list(zip(chart.lines, _marks(chart), strict=True))
    drawn = _drawn(chart, marked, min(width, MOST_WIDTH))
    for _, (glyph, colour) in marked:
        drawn.highlight_regex(glyph, colour)
    return Group(Text(chart.unit, style="dim"), drawn, *(_legend(line, mark, chart.unit) for line, mark in marked))


def _marks(chart: Chart) -> list[Mark]:
    sets = {PEERS: cycle(PEERS_MARKS), FLOOR: cycle(FLOOR_MARKS)}
    measured = cycle(MEASURED_MARKS)
    return [next(sets.get(line.kind, measured)) for line in chart.lines]


def _drawn(chart: Chart, marked: list[tuple[Line, Mark]], width: int) -> Text:
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless").plot_size(width, HEIGHT)
    _rulers(figure, chart)
    for line, (glyph, _) in reversed(marked):
        figure.draw(figure.signal(*zip(*line.powers, strict=True), marker=glyph).lines())
    return Text("\n".join(row.rstrip() for row in plotext.uncolorize(str(figure.build())).splitlines()))


def _rulers(figure: Any, chart: Chart) -> None:
    """Name sizes, not their logarithms: plotext's own logarithmic axis knows powers of ten alone."""
    smallest, largest = chart.sizes
    across, up = size_ticks(smallest, largest), value_ticks(chart.most)
    figure.ruler("x").ticks([math.log2(size) for size in across], [size_words(size) for size in across])
    figure.ruler("y").ticks(up, [f"{value:g}" for value in up])
    figure.ruler("x").lim(math.log2(smallest), math.log2(largest))
    figure.ruler("y").lim(0, chart.most)


def _legend(line: Line, mark: Mark, unit: str) -> Text:
    glyph, colour = mark
    return Text.assemble((f"  {glyph} ", colour), cell(line.said(unit)))
