"""The span on whose account something is done right now, for adapters that can tell its receiver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_traceparent: ContextVar[str] = ContextVar("traceparent", default="")


def headers() -> dict[str, str]:
    """Return what a request carries so that its receiver's spans join ours; nothing outside of a trace.

    Source: W3C Trace Context, 3.2.
    """
    found = _traceparent.get()
    return {"traceparent": found} if found else {}


def span_in(trace_id: str) -> str:
    """Return the id of the span of this trace on whose account something is done, empty outside of one."""
    parts = _traceparent.get().split("-")
    return parts[2] if parts[1:2] == [trace_id] else ""


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """Have everything inside be done on account of a span."""
    token = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(token)
