"""Names of traces and spans: the same for the same log, different for anything else."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from controller.tracing.ids import is_sampled, span_id_of, trace_id_of, traceparent

OPENED_AT = 1_790_000_000.123456
TRACES = st.integers(min_value=0, max_value=2**128 - 1).map(lambda number: f"{number:032x}")


def test_a_trace_is_named_after_its_incident_whoever_asks() -> None:
    assert trace_id_of("main", "inc-000001", OPENED_AT) == "0034f68ae1cf19ab36291b32053c4ad7"


def test_two_cells_of_one_name_do_not_share_the_trace_of_their_first_incident() -> None:
    names = {
        trace_id_of("main", "inc-000001", OPENED_AT),
        trace_id_of("main", "inc-000001", OPENED_AT + 0.000001),
        trace_id_of("main", "inc-000002", OPENED_AT),
        trace_id_of("other", "inc-000001", OPENED_AT),
    }
    assert len(names) == 4


def test_the_header_is_as_w3c_has_it() -> None:
    trace = trace_id_of("main", "inc-000001", OPENED_AT)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", traceparent(trace, span_id_of(trace, "incident")))


@given(TRACES, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_keeps(trace_id: str, one: float, other: float) -> None:
    assert is_sampled(trace_id, min(one, other)) <= is_sampled(trace_id, max(one, other))


@given(TRACES)
def test_all_are_kept_or_none(trace_id: str) -> None:
    assert (is_sampled(trace_id, 1.0), is_sampled(trace_id, 0.0)) == (True, False)


def test_a_share_is_about_that_share() -> None:
    kept = sum(is_sampled(trace_id_of("main", f"inc-{number:06d}", OPENED_AT), 0.1) for number in range(10_000))
    assert 900 <= kept <= 1_100
