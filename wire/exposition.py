"""Declared metrics and their values in the shape from which prometheus_client writes text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from wire.metrics import Distribution, Kind, LabelValues, Metric, Samples

PROCESS = ProcessCollector(registry=None)


class Scrape(Collector):
    """The values of one moment as prometheus_client takes them."""

    def __init__(self, metrics: Iterable[Metric], values: Mapping[str, Samples]) -> None:
        """Give out what was declared, in that order, as far as there are values."""
        self._metrics, self._values = metrics, values

    def collect(self) -> Iterator[Family]:
        """Yield each metric with its series, and what is known of the process itself."""
        for metric in self._metrics:
            if metric.name in self._values:
                yield _family(metric, self._values[metric.name])
        yield from PROCESS.collect()


def _family(metric: Metric, samples: Samples) -> Family:
    names = [label.name for label in metric.labels]
    match metric.kind:
        case Kind.GAUGE:
            return _numbers(GaugeMetricFamily(metric.name, metric.meaning, labels=names, unit=metric.unit), samples)
        case Kind.COUNTER:
            return _numbers(CounterMetricFamily(metric.name, metric.meaning, labels=names, unit=metric.unit), samples)
        case Kind.SUMMARY:
            return _summary(SummaryMetricFamily(metric.name, metric.meaning, labels=names, unit=metric.unit), samples)
        case Kind.HISTOGRAM:
            family = HistogramMetricFamily(metric.name, metric.meaning, labels=names, unit=metric.unit)
            return _histogram(family, samples)


def _numbers(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Family:
    for values, value in samples.items():
        assert not isinstance(value, Distribution)
        family.add_metric(_plain(values), value)
    return family


def _summary(family: SummaryMetricFamily, samples: Samples) -> Family:
    for values, seen in samples.items():
        assert isinstance(seen, Distribution)
        family.add_metric(_plain(values), count_value=seen.count, sum_value=seen.total)
    return family


def _histogram(family: HistogramMetricFamily, samples: Samples) -> Family:
    for values, seen in samples.items():
        assert isinstance(seen, Distribution)
        bounds = [*map(floatToGoString, seen.buckets), "+Inf"]
        counts = accumulate(seen.counts)
        family.add_metric(_plain(values), buckets=list(zip(bounds, counts, strict=True)), sum_value=seen.total)
    return family


def _plain(values: LabelValues) -> list[str]:
    """Return the values; what UTF-8 cannot hold (a name on a host may be any bytes) is written out as `\\udc80`."""
    return [each if each.isascii() else each.encode("utf-8", "backslashreplace").decode() for each in values]
