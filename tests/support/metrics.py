"""Reading an exposition back, by prometheus_client's own parser."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Name of the sample and its labels → value."""


def series_of(text: str) -> Series:
    """Return every series of a text in either format."""
    families = parse_openmetrics(text) if text.endswith("# EOF\n") else parse_plain(text)  # type: ignore[no-untyped-call]
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    """Return the value of a series, `None` when there is none."""
    return series.get((name, frozenset(labels.items())))


def named(series: Series, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """Return the series of one name, by their labels."""
    return {labels: number for (each, labels), number in series.items() if each == name}
