"""What a node's page is made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.api.history_shapes import BenchmarkAt, BenchmarkSeries, CheckLane, NodeHistory, Span
from controller.api.moments import iso
from controller.policy.drilling import why_no_drill
from controller.policy.node_belief import NodeBelief
from controller.web.counter_section import CounterSection
from controller.web.node_page import HEIGHT, node_view
from wire.messages import NodeFacts

NOW = 1_790_000_000.0
TOLD = CounterSection(None, "")


def history(*, checks: tuple[CheckLane, ...] = (), series: tuple[BenchmarkSeries, ...] = ()) -> NodeHistory:
    """Return a history of nothing else."""
    return NodeHistory(None, True, [], list(checks), [], list(series))


def test_a_lane_is_as_long_as_its_verdicts_lasted_and_as_high_as_they_are_bad() -> None:
    spans = [
        Span(iso(NOW - 100), iso(NOW - 50), "ok", ""),
        Span(iso(NOW - 50), iso(NOW - 25), "degraded", "slow"),
        Span(iso(NOW - 25), None, "failed", "gone"),
    ]
    (lane,) = node_view(history(checks=(CheckLane("gpu.xid", spans),)), TOLD, NOW, why_no_drill="").lanes
    assert [(bar.x, bar.width) for bar in lane.bars] == [(0.0, 50.0), (50.0, 25.0), (75.0, 25.0)]
    assert [bar.height for bar in lane.bars] == sorted(bar.height for bar in lane.bars)
    assert (lane.verdict, lane.changes[0].verdict) == ("failed", "failed")
    assert lane.described.startswith("gpu.xid: ok from 2026-09-21 14:11; degraded from")


def test_a_metric_that_was_measured_once_has_no_line() -> None:
    once = BenchmarkSeries("gemm", "gemm", "speed", "TFLOP/s", 0, [BenchmarkAt(iso(NOW), 5.0, "pass", "", None, None)])
    twice = BenchmarkSeries(
        "gemm", "gemm", "speed", "TFLOP/s", 0,
        [BenchmarkAt(iso(NOW - 9), 5.0, "pass", "", 4.0, 5.5), BenchmarkAt(iso(NOW), 6.0, "pass", "", 4.0, None)],
    )  # fmt: skip
    view = node_view(history(series=(once, twice)), TOLD, NOW, why_no_drill="")
    assert view.single == (once,)
    (picture,) = view.benchmarks
    assert [stroke.look for stroke in picture.strokes] == ["measured-1", "peers-1", "floor-1"]


@given(st.lists(st.tuples(st.floats(0, 2e9), st.floats(0, 2e9), st.text(max_size=8)), min_size=1, max_size=6))
def test_no_bar_leaves_its_lane(times: list[tuple[float, float, str]]) -> None:
    told = CheckLane("c", [Span(iso(begun), iso(ended), verdict, "") for begun, ended, verdict in times])
    (lane,) = node_view(history(checks=(told,)), TOLD, NOW, why_no_drill="").lanes
    for bar in lane.bars:
        assert 0 <= bar.x <= 100 and bar.width > 0 and bar.y + bar.height == HEIGHT


def test_a_drill_needs_a_node_that_is_there_and_takes_part() -> None:
    node = NodeBelief("n1", presence="online", facts=NodeFacts(orders_allowed=["inject_fault"]))
    assert why_no_drill(node) == ""
    node.presence = "lost"
    assert why_no_drill(node) == "n1 is lost, so no fault can be injected"
    node = NodeBelief("n1", presence="online", facts=NodeFacts(orders_allowed=["reboot"]))
    assert why_no_drill(node).endswith("inject_fault is not among its orders_allowed")
