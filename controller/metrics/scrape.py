"""One answer to whoever scrapes: belief is counted in turns, and the text is written beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

from controller.api.shapes import StoreUse
from controller.desk import FrontDesk
from controller.metrics import catalogue
from controller.metrics.answers import bench_values, incident_values, limit_values, notice_values
from controller.metrics.catalogue import METRICS
from controller.metrics.fleet import census
from controller.metrics.tally import Tally
from wire.certificate import certificate_values
from wire.exposition import Scrape
from wire.metrics import LabelValues, Samples, Values, known_or_other

KEPT_S = 1.0
"""Whoever scrapes within so long after another is told the same, so that no number of them costs more."""


def exposition(values: Values, accept: str) -> tuple[bytes, str]:
    """Return the text and its content type: OpenMetrics for whoever accepts it, else Prometheus' older format.

    Args:
        accept: the request's header; one that cannot be read asks for nothing special.
    """
    try:
        write, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # of prometheus_client 0.26, over a version that is no number
        write, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return write(Scrape(METRICS, values)), content_type


@dataclass(slots=True)
class Metrics:
    """What the controller tells Prometheus.

    Attributes:
        monotonic: seconds, for how long an answer is kept.
    """

    front: FrontDesk
    tally: Tally
    monotonic: Callable[[], float]
    _values: Values = field(default_factory=dict)
    _counted_at: float = float("-inf")
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the exposition and its content type, as the request's `Accept` asks for it."""
        async with self._turn:
            if self.monotonic() - self._counted_at >= KEPT_S:
                self._values = await self.values()
                self._counted_at = self.monotonic()
            return await asyncio.to_thread(exposition, self._values, accept)

    async def values(self) -> Values:
        """Return every value as it is now."""
        belief, rules = self.front.belief, self.front.rules
        counted = await census(belief)
        await asyncio.sleep(0)
        out: Samples = {("fleetmend",): float(len(belief.held)), ("others",): float(counted.foreign)}
        found = counted.values() | {"fleetmend_nodes_out": out}
        await asyncio.sleep(0)
        found |= incident_values(belief, self.front.now())
        await asyncio.sleep(0)
        found |= limit_values(belief, rules) | bench_values(belief)
        await asyncio.sleep(0)
        found |= notice_values(belief)
        await asyncio.sleep(0)
        return found | self._cell_values() | self._store_values() | self.tally.values()

    def _cell_values(self) -> Values:
        front, watch = self.front, self.front.watch
        return {
            "fleetmend_build_info": {(front.cell_name, version("fleetmend")): 1.0},
            "fleetmend_leader": {(): float(front.leads())},
            "fleetmend_term": {(): front.orders.term},
            "fleetmend_lag_seconds": {(): front.intake.lag_s(front.now())},
            "fleetmend_broker_connected": {(): float(front.transport.connected)},
            **certificate_values("fleetmend", front.certificate()),
            "fleetmend_scheduler_up": {(watch.scheduler.name,): float(bool(watch.seen_at) and not watch.error)},
            "fleetmend_scheduler_seen_time_seconds": {(): watch.seen_at},
            "fleetmend_scheduler_errors_total": {(): watch.errors},
            "fleetmend_topology_sources_failing": {(): sum(map(bool, front.topology_errors.values()))},
            "fleetmend_settings_refused": {(): float(bool(front.settings_error))},
            "fleetmend_messages_rejected_total": self._rejected(),
            "fleetmend_messages_unread_total": {(): self.front.intake.unread},
            "fleetmend_log_events_total": {(): front.belief.last_event_id},
        }

    def _store_values(self) -> Values:
        use = msgspec.convert(self.front.store_use(), StoreUse)
        age: Samples = {} if use.snapshot_age_s is None else {(): use.snapshot_age_s}
        return {
            "fleetmend_store_bytes": {(): use.used_bytes},
            "fleetmend_store_events": {(): use.events},
            "fleetmend_store_snapshot_age_seconds": age,
            "fleetmend_store_compaction_failed": {(): float(bool(use.error))},
        }

    def _rejected(self) -> dict[LabelValues, float]:
        found: dict[LabelValues, float] = {(reason,): 0.0 for reason in catalogue.REASONS}
        for reason, count in self.front.intake.rejected.items():
            found[(known_or_other(reason, catalogue.REASONS),)] += count
        return found
