"""From which size of message on a floor holds: a curve's small sizes are slow by nature, and condemn nothing."""

from __future__ import annotations

import pytest

from checks.bench_limits import FLOORS_FROM_BYTES, shipped_limits

GIB = 1 << 30


def test_every_such_metric_is_known_and_has_a_floor() -> None:
    limits = shipped_limits()
    assert set(FLOORS_FROM_BYTES) <= {metric.name for metric in limits.metrics}
    assert set(FLOORS_FROM_BYTES) <= {floor.metric for floor in limits.floors}


@pytest.mark.parametrize(
    ("metric", "size_bytes", "fail"),
    [
        ("node_all_reduce", 8 * GIB, 430),
        ("node_all_reduce", 16 * GIB, 430),
        ("node_all_reduce", 8 * GIB - 1, None),
        ("node_all_reduce", 1 << 20, None),
        ("node_all_reduce_ring", 4 * GIB, None),
        ("host_to_device", 1 << 20, 48),
        ("host_to_device", 0, 48),
    ],
)
def test_a_floor_holds_from_its_size_on(metric: str, size_bytes: int, fail: float | None) -> None:
    floor = shipped_limits().floor_at(metric, "H100", size_bytes)
    assert (floor.fail if floor is not None else None) == fail
