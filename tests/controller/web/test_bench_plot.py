"""The picture on a node's page: every point lies within its frame, whatever a node says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.api.bench_charts import Measured, charts
from controller.web.bench_plot import BOTTOM, LEFT, RIGHT, TOP, picture

GIB = 1 << 30


def test_a_limit_of_one_size_is_drawn_as_a_short_stroke() -> None:
    (chart,) = charts(
        [
            Measured("node_all_reduce", "bus bandwidth", "GB/s", GIB, 400.0),
            Measured("node_all_reduce", "bus bandwidth", "GB/s", 4 * GIB, 460.0, fail=430.0),
        ]
    )
    drawn = picture(chart)
    measured, floor = drawn.strokes
    assert (measured.look, measured.pieces) == ("measured-1", (f"{LEFT}.0,{_up(0.8)} {RIGHT}.0,{_up(0.92)}",))
    short = f"{(LEFT + 3 * RIGHT) / 4},{_up(0.86)} {RIGHT}.0,{_up(0.86)}"
    assert (floor.look, floor.pieces) == ("floor-1", (short,))
    assert [(tick.label, tick.at) for tick in drawn.across] == [
        ("1 GiB", LEFT),
        ("2 GiB", (LEFT + RIGHT) / 2),
        ("4 GiB", RIGHT),
    ]
    assert [tick.label for tick in drawn.up] == ["0", "100", "200", "300", "400", "500"]
    assert [(row.size, row.values) for row in drawn.rows] == [("1 GiB", ("400", "")), ("4 GiB", ("460", "430"))]


def _up(share: float) -> float:
    """Return how far down a share of the value axis is."""
    return round(BOTTOM - (BOTTOM - TOP) * share, 1)


numbers = st.builds(
    Measured,
    metric=st.sampled_from(["node_all_reduce", "node_all_reduce_ring", "peer_copy"]),
    summary=st.just("bandwidth"),
    unit=st.just("GB/s"),
    size_bytes=st.integers(-1, 2**63),
    value=st.floats(),
    device=st.sampled_from(["", "GPU-a", "GPU-b"]),
    way=st.sampled_from(["", "nvls"]),
    fail=st.none() | st.floats(1e-3, 1e6),
    median=st.none() | st.floats(1e-3, 1e6),
    peers=st.integers(8, 100),
)


@given(st.lists(numbers, max_size=12))
def test_whatever_a_node_says_every_point_is_within_the_frame(said: list[Measured]) -> None:
    for chart in charts(said):
        drawn = picture(chart)
        assert chart.described and drawn.rows
        for stroke in drawn.strokes:
            for point in " ".join(stroke.pieces).split():
                across, up = map(float, point.split(","))
                assert LEFT <= across <= RIGHT and TOP <= up <= BOTTOM
