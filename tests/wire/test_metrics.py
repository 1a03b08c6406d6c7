"""Bounds of labels, and what is counted until somebody scrapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.catalogue import METRICS as OF_AGENTS
from controller.metrics.catalogue import METRICS as OF_CONTROLLERS
from wire.exposition import PROCESS
from wire.metrics import OTHER, PROCESS_METRICS, Distribution, Kind, Label, Metric, bounded, kept_names, known_or_other

NAMES = st.text(max_size=8)
EVERY = (*OF_CONTROLLERS, *OF_AGENTS)


@given(st.dictionaries(st.tuples(NAMES, NAMES), st.integers(0, 1000)), st.integers(1, 5), st.integers(1, 5))
def test_no_label_has_more_values_than_its_bound_and_nothing_is_left_out(
    samples: dict[tuple[str, str], int], first: int, second: int
) -> None:
    shown = bounded({labels: float(count) for labels, count in samples.items()}, {0: first, 1: second})
    assert len({labels[0] for labels in shown}) <= first
    assert len({labels[1] for labels in shown}) <= second
    assert sum(shown.values()) == sum(samples.values())


def test_the_names_that_count_most_are_kept() -> None:
    assert kept_names({"a": 1, "b": 5, "c": 3}, 2) == {"b"}
    assert kept_names({"a": 1, "b": 5}, 2) == {"a", "b"}
    assert bounded({("a",): 1.0, ("b",): 5.0, ("c",): 3.0}, {0: 2}) == {("b",): 5.0, (OTHER,): 4.0}


def test_a_name_that_nobody_knows_is_another() -> None:
    assert [known_or_other(name, ("late", OTHER)) for name in ("late", "evil", OTHER)] == ["late", OTHER, OTHER]


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_distribution_counts_each_value_once_in_the_bucket_that_holds_it(values: list[float]) -> None:
    seen = Distribution((1.0, 10.0))
    for value in values:
        seen.observe(value)
    at_most = [sum(value <= bound for value in values) for bound in seen.buckets]
    assert (seen.counts[0], sum(seen.counts[:2]), seen.count) == (*at_most, len(values))
    assert seen.total == pytest.approx(sum(values))


def test_a_copy_does_not_change_with_what_is_counted_later() -> None:
    seen = Distribution((1.0,))
    before = seen.copy()
    seen.observe(0.5)
    assert (before.count, seen.count) == (0, 1)


def test_how_many_series_there_can_be() -> None:
    labels = (Label("a", "", 3), Label("b", "", 4))
    assert Metric("m", Kind.GAUGE, "", labels).most_series == 12
    assert Metric("m", Kind.GAUGE, "", labels, at_once=5).most_series == 5
    assert Metric("m", Kind.SUMMARY, "", labels).most_series == 24
    assert Metric("m", Kind.HISTOGRAM, "", labels, buckets=(1.0, 2.0)).most_series == 12 * 5


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_names_follow_prometheus_rules(metric: Metric) -> None:
    assert metric.name.startswith("fleetmend_")
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.removesuffix("_total").endswith(metric.unit)
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert '"' not in metric.meaning and metric.meaning.endswith(".")
    assert not {"cell", "job", "instance", "le", "quantile"} & {label.name for label in metric.labels}


def test_no_two_metrics_have_one_name() -> None:
    names = [metric.name for metric in EVERY]
    assert sorted(set(names)) == sorted(names)
    assert [n for n in names if n.startswith("fleetmend_agent_") and n not in {m.name for m in OF_AGENTS}] == [
        "fleetmend_agent_starts_total"
    ]


def test_a_cell_and_an_agent_can_have_so_many_series_at_the_most() -> None:
    assert sum(metric.most_series for metric in OF_CONTROLLERS) <= 10_000
    assert sum(metric.most_series for metric in OF_AGENTS) <= 5_000


def test_the_process_is_told_of_as_declared() -> None:
    said = {sample.name for family in PROCESS.collect() for sample in family.samples}
    assert said == {metric.name for metric in PROCESS_METRICS}
