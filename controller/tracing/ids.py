"""How traces and spans are named: derived from what the log says, so that every controller gives the same names."""

from __future__ import annotations

import hashlib
from typing import Final

SAMPLED_BITS: Final = 64
"""The part of a trace id that decides whether it is kept. Source: OpenTelemetry's TraceIdRatioBased, whose
implementations take the lowest 64 bits, so that a collector with the same share keeps the same traces."""


def trace_id_of(cell: str, incident_id: str, opened_at: float) -> str:
    """Return the trace of an incident, 32 hexadecimal digits.

    Args:
        opened_at: from the log, Unix seconds: two cells of one name must not share the traces of their first incidents.
    """
    return _digest(f"{cell}/{incident_id}/{round(opened_at * 1_000_000)}", 16)


def span_id_of(trace_id: str, name: str) -> str:
    """Return the id of a span, 16 hexadecimal digits. `name`: which one of the trace it is."""
    return _digest(f"{trace_id}/{name}", 8)


def is_sampled(trace_id: str, share: float) -> bool:
    """Return whether a trace is among the share that is kept, from 0 for none to 1 for all."""
    bound = round(share * (1 << SAMPLED_BITS))
    return int(trace_id[-SAMPLED_BITS // 4 :], 16) < bound


def traceparent(trace_id: str, span_id: str) -> str:
    """Return the header by which a receiver hangs its own spans below this one.

    Source: W3C Trace Context, 3.2: version 00, and the flag that says that it is kept.
    """
    return f"00-{trace_id}-{span_id}-01"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).digest()[:length].hex()
