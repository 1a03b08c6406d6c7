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


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """Have everything inside be done on account of a span."""
    token = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(token)
