"""The pictures of a node's counters: levels as they were, totals as what was added, silences as gaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from checks.node_counters import BY_NAME, NODE_COUNTERS, Kind
from controller.api.counter_shapes import CounterSample, CounterSeries, CountersShown
from controller.api.moments import iso
from controller.web.bench_plot import BOTTOM, LEFT, RIGHT, TOP, Picture
from controller.web.counter_section import MOST_ROWS, counter_section

MIDNIGHT = 1_790_035_200.0


def series(name: str, *samples: tuple[float, float, float, float]) -> CounterSeries:
    """Return a counter with samples of minutes or quarters after midnight: begin, length, least and most."""
    about = BY_NAME[name]
    told = [CounterSample(iso(MIDNIGHT + at), over_s, low, high) for at, over_s, low, high in samples]
    return CounterSeries(name, about.summary, about.unit, str(about.kind), 42.0, told)


def drawn(one: CounterSeries, *, now: float = MIDNIGHT + 7_200.0) -> Picture:
    (picture,) = counter_section(CountersShown(iso(MIDNIGHT), "", [one]), now).pictures
    return picture


def test_a_level_of_minutes_is_one_line_from_near_its_least() -> None:
    picture = drawn(series("gpu_temperature_celsius", (0.0, 60.0, 40.0, 40.0), (60.0, 60.0, 44.0, 44.0)))
    (line,) = picture.strokes
    assert (line.name, line.pieces) == ("in each minute", (f"{LEFT}.0,{BOTTOM}.0 {RIGHT}.0,{TOP}.0",))
    assert [tick.label for tick in picture.up] == ["40", "41", "42", "43", "44"]
    assert picture.title == "Temperature of the hottest GPU" and picture.unit == "°C"


def test_a_level_of_quarters_has_its_most_and_its_least() -> None:
    picture = drawn(series("gpu_power_watts", (0.0, 900.0, 500.0, 900.0), (900.0, 60.0, 700.0, 700.0)))
    assert [(line.name, line.look) for line in picture.strokes] == [("highest", "measured-1"), ("lowest", "measured-2")]
    assert [row.values for row in picture.rows] == [("700", "700"), ("900", "500")]


def test_a_total_is_drawn_as_what_was_added_since_it_is_known() -> None:
    added = series("rdma_link_downs", (0.0, 900.0, 2.0, 2.0), (900.0, 60.0, 0.0, 0.0), (960.0, 60.0, 3.0, 3.0))
    picture = drawn(added)
    assert [row.values for row in picture.rows] == [("5",), ("2",), ("2",), ("0",)]
    assert picture.title == "Times that an RDMA link went down: what was added, 42 in all"


def test_no_line_leads_over_a_silence() -> None:
    spoken = [(60.0 * minute, 60.0, float(minute), float(minute)) for minute in (0, 1, 5, 9, 10)]
    (line,) = drawn(series("gpu_power_watts", *spoken)).strokes
    assert [len(piece.split()) for piece in line.pieces] == [2, 1, 2]
    alone = line.pieces[1].split(",")
    assert (float(alone[0]), float(alone[1])) in line.dots


def test_what_never_moved_is_said_and_not_drawn() -> None:
    still = series("nvlinks_active", (0.0, 60.0, 144.0, 144.0), (60.0, 60.0, 144.0, 144.0))
    unmoved = series("gpu_slowed_s", (0.0, 60.0, 0.0, 0.0))
    section = counter_section(CountersShown(iso(MIDNIGHT), "", [still, unmoved]), MIDNIGHT + 120.0)
    assert section.pictures == ()
    assert section.steady == ("active NVLinks of all GPUs: 42",)
    assert section.unmoved == ("time for which heat slowed the GPU that it slowed most: 42 s",)


def test_the_minute_under_way_ends_now() -> None:
    levels = series("gpu_power_watts", (0.0, 60.0, 1.0, 1.0), (60.0, 60.0, 2.0, 2.0))
    assert drawn(levels, now=MIDNIGHT + 75.0).rows[0].size.endswith("00:01:15")


values = st.floats(-1e15, 1e15)
steps = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([60, 900]), values, values), max_size=40)


@given(st.sampled_from(NODE_COUNTERS).map(lambda each: each.name), steps)
def test_whatever_is_kept_every_mark_is_within_the_frame(name: str, told: list[tuple[int, int, float, float]]) -> None:
    samples, at = [], 0.0
    for gap, over_s, one, other in told:
        low, high = (min(one, other), max(one, other)) if BY_NAME[name].kind is Kind.LEVEL else (abs(one), abs(one))
        samples.append((at + 60.0 * gap, float(over_s), low, high))
        at += 60.0 * gap + over_s
    section = counter_section(CountersShown(iso(MIDNIGHT), "", [series(name, *samples)]), MIDNIGHT + at)
    assert len(section.pictures) + len(section.steady) + len(section.unmoved) == 1
    for picture in section.pictures:
        assert len(picture.rows) <= MOST_ROWS and len(picture.up) >= 2
        for line in picture.strokes:
            for point in " ".join(line.pieces).split():
                across, up = map(float, point.split(","))
                assert LEFT <= across <= RIGHT and TOP <= up <= BOTTOM
