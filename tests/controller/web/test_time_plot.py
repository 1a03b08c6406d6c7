"""The picture over time: every mark lies within its frame, and its axis has moments that people count in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.web.bench_plot import BOTTOM, LEFT, RIGHT, TOP
from controller.web.time_plot import MOST_TICKS, Line, time_picture, time_ticks

MIDNIGHT = datetime(2026, 9, 21, tzinfo=UTC).timestamp()


def test_each_mark_is_where_its_moment_and_value_are() -> None:
    lines = [
        Line("measured", "measured", ((MIDNIGHT, 40.0), (MIDNIGHT + 3600.0, 80.0), (MIDNIGHT + 7200.0, 100.0))),
        Line("floor", "limit", ((MIDNIGHT, 50.0), (MIDNIGHT + 7200.0, 50.0))),
    ]
    drawn = time_picture("name", "Title", "GB/s", lines)
    assert drawn is not None
    measured, floor = drawn.strokes
    assert measured.dots == ((LEFT, 195.2), ((LEFT + RIGHT) / 2, 94.4), (RIGHT, TOP))
    assert (floor.look, floor.dots) == ("floor-1", ())
    assert [(tick.label, tick.at) for tick in drawn.across][:2] == [("21 Sep", LEFT), ("00:30", 222.0)]
    assert [tick.label for tick in drawn.up] == ["0", "20", "40", "60", "80", "100"]
    assert [row.values for row in drawn.rows] == [("100", "50"), ("80", ""), ("40", "50")]
    assert drawn.described == (
        "GB/s over time, 2026-09-21 00:00:00 to 2026-09-21 02:00:00 UTC. measured: last 100; limit: last 50."
    )


@pytest.mark.parametrize("points", [(), ((1.0, 5.0),), ((1.0, 5.0), (1.0, 6.0)), ((1.0, 1e300), (2.0, 5.0))])
def test_a_line_needs_two_moments(points: tuple[tuple[float, float], ...]) -> None:
    assert time_picture("name", "Title", "", [Line("measured", "measured", points)]) is None


@pytest.mark.parametrize(
    ("length_s", "labels"),
    [
        (180.0, ["21 Sep", "00:01", "00:02", "00:03"]),
        (6 * 3600.0, ["21 Sep", "02:00", "04:00", "06:00"]),
        (3 * 86_400.0, ["21 Sep", "22 Sep", "23 Sep", "24 Sep"]),
    ],
)
def test_a_time_axis_has_round_moments(length_s: float, labels: list[str]) -> None:
    assert [label for _, label in time_ticks(MIDNIGHT, MIDNIGHT + length_s)] == labels


moments = st.floats(1e9, 4e9)
values = st.floats(allow_nan=False) | st.integers(-5, 5).map(float)


@given(st.lists(st.tuples(moments, values), min_size=2, max_size=9))
def test_whatever_is_told_every_mark_is_within_the_frame(points: list[tuple[float, float]]) -> None:
    drawn = time_picture("name", "Title", "", [Line("measured", "measured", tuple(sorted(points)))])
    if drawn is None:
        return
    assert 1 <= len(drawn.across) <= MOST_TICKS and len(drawn.up) >= 2
    for stroke in drawn.strokes:
        assert all(LEFT <= across <= RIGHT and TOP <= up <= BOTTOM for across, up in stroke.dots)
    assert all(LEFT <= tick.at <= RIGHT for tick in drawn.across)
    assert all(TOP <= tick.at <= BOTTOM for tick in drawn.up)
