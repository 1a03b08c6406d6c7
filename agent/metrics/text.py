"""What an agent is scraped as: OpenMetrics for whoever accepts it, else the older format that everybody reads.

Both come of prometheus_client's writer of OpenMetrics. Its writer of the older format stands in a module with HTTP
servers and gateways that would take 1 MiB of every host; what differs between the two formats is a few lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from agent.metrics.catalogue import METRICS
from wire.exposition import Scrape
from wire.metrics import Values

PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text"


def exposition(values: Values, *, accept: str = "") -> tuple[bytes, str]:
    """Return the text and its content type.

    Args:
        accept: the request's header.
    """
    text: bytes = generate_latest(Scrape(METRICS, values))  # type: ignore[no-untyped-call] # nothing in it is typed
    if any(each.partition(";")[0].strip().lower() == OPENMETRICS for each in accept.split(",")):
        return text, CONTENT_TYPE_LATEST
    return "\n".join(_older(text.decode().split("\n"))).encode() + b"\n", PLAIN


def _older(lines: list[str]) -> Iterator[str]:
    """Yield the lines as the older format has them: no units and no end, and counters by the names of their series."""
    counters = {line.split(" ")[2] for line in lines if line.startswith("# TYPE ") and line.endswith(" counter")}
    for line in lines:
        mark, _, rest = line.partition(" ")
        kind, _, said = rest.partition(" ")
        if mark not in {"#", ""}:
            yield line
        elif kind in {"HELP", "TYPE"}:
            name, _, text = said.partition(" ")
            yield f"# {kind} {name}{'_total' if name in counters else ''} {text}"
