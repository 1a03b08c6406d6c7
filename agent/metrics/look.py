"""What an agent says of itself and of its node at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from agent.clock import Clock
from agent.desk import Desk
from agent.metrics.catalogue import MOST_CHECKS, MOST_SOURCES, REASONS
from agent.metrics.devices import accelerator_values, counter_values, gpu_values, port_values
from agent.outbox import Outbox
from agent.publisher import Identity, Publisher
from agent.runner import Feed, Runner
from checks.readings import AmdReading, AscendReading, NvmlReading, RdmaCountersReading, RdmaReading
from wire.certificate import Life, certificate_values
from wire.metrics import Distribution, LabelValues, Values, known_or_other

NVML: Final = NvmlReading.SOURCE


@dataclass(frozen=True, slots=True)
class Look:
    """Everything of a running agent that metrics speak of."""

    identity: Identity
    version: str
    desk: Desk
    runner: Runner
    outbox: Outbox
    publisher: Publisher
    clock: Clock
    life: Callable[[], Life | None]

    def values(self) -> Values:
        """Return every value as it is now."""
        return {
            "fleetmend_agent_info": {(self.identity.node, self.identity.cell, self.version): 1.0},
            **self._check_values(),
            **self._source_values(),
            **self._outbox_values(),
            **certificate_values("fleetmend_agent", self.life()),
            **self._device_values(),
        }

    def _check_values(self) -> Values:
        levels = self.desk.levels(self.desk.check_ids[:MOST_CHECKS])
        standing = Counter((key.check, str(each.finding.verdict)) for key, each in self.desk.book.raised.items())
        findings: dict[LabelValues, float] = {key: count for key, count in standing.items() if key[0] in levels}
        return {
            "fleetmend_agent_check": {(check, level.verdict): 1.0 for check, level in levels.items()},
            "fleetmend_agent_check_judged_time_seconds": {(check,): level.judged_at for check, level in levels.items()},
            "fleetmend_agent_findings": findings,
            "fleetmend_agent_crashes_total": {
                (name,): count for name, count in self.desk.crashes.most_common(MOST_CHECKS)
            },
        }

    def _source_values(self) -> Values:
        feeds, now = dict(islice(self.runner.feeds.items(), MOST_SOURCES)), self.clock.monotonic()
        return {
            "fleetmend_agent_source_reading_seconds": {(name,): _readings(feed) for name, feed in feeds.items()},
            "fleetmend_agent_source_last_reading_seconds": {
                (name,): feed.last_reading_s for name, feed in feeds.items() if feed.readings
            },
            "fleetmend_agent_source_age_seconds": {
                (name,): max(0.0, now - feed.answered_at) for name, feed in feeds.items()
            },
            "fleetmend_agent_source_overdue": {(name,): float(feed.overdue) for name, feed in feeds.items()},
            "fleetmend_agent_kernel_records_total": {(): self.runner.records},
            "fleetmend_agent_kernel_records_ignored_total": {(): self.runner.records_ignored},
        }

    def _outbox_values(self) -> Values:
        oldest_at = self.outbox.oldest_at()
        age_s = 0.0 if oldest_at is None else max(0.0, self.clock.wall() - oldest_at)
        return {
            "fleetmend_agent_broker_connected": {(): float(self.publisher.connected)},
            "fleetmend_agent_outbox_events": {(): self.outbox.depth()},
            "fleetmend_agent_outbox_age_seconds": {(): age_s},
            "fleetmend_agent_outbox_writable": {(): float(not self.outbox.problem)},
            "fleetmend_agent_outbox_dropped_total": {(): self.outbox.dropped},
            "fleetmend_agent_events_published_total": {(): self.publisher.published},
            "fleetmend_agent_events_stored_total": {(): self.publisher.stored},
            "fleetmend_agent_messages_rejected_total": self._rejected(),
        }

    def _rejected(self) -> dict[LabelValues, float]:
        found: dict[LabelValues, float] = {(reason,): 0.0 for reason in REASONS}
        for reason, count in self.publisher.rejected.items():
            found[(known_or_other(reason, REASONS),)] += count
        return found

    def _device_values(self) -> Values:
        """Return what fresh readings say: one that is overdue says nothing of now."""
        fresh, found = self._fresh(), dict[str, Any]()
        if isinstance(nvml := fresh.get(NVML), NvmlReading):
            found |= gpu_values(nvml, self.desk.newest_first(NVML))
        if isinstance(ports := fresh.get(RdmaReading.SOURCE), RdmaReading):
            found |= port_values(ports)
        if isinstance(counters := fresh.get(RdmaCountersReading.SOURCE), RdmaCountersReading):
            found |= counter_values(counters)
        others = [fresh[each.SOURCE] for each in (AscendReading, AmdReading) if each.SOURCE in fresh]
        return found | accelerator_values(others)

    def _fresh(self) -> Mapping[str, Any]:
        feeds, now = self.runner.feeds, self.clock.monotonic()
        newest = self.runner.last_readings
        return {
            name: each for name, each in newest.items() if name in feeds and now - each.at_s <= feeds[name].budget_s
        }


def _readings(feed: Feed) -> Distribution:
    return Distribution((), [feed.readings], feed.reading_s)
