"""One incident, two controllers: the second goes on in the trace that the first began, and tells nothing twice."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from cli.client import Client
from tests.end_to_end.test_high_availability import shared_cell
from tests.support.controllers import until
from tests.support.otlp import receiving
from tests.support.postgres import running_postgres

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


async def test_a_standby_goes_on_in_the_trace_that_the_leader_began(tmp_path: Path) -> None:
    with running_postgres() as postgres:
        async with receiving() as receiver, shared_cell(tmp_path, postgres, traces=receiver.url) as cell:
            cell.nodes.lose_gpu("n1")
            await until(lambda: "call cordon" in {seen.name for seen in receiver.spans()})
            by_first = len(receiver.spans())
            cell.first.signal(signal.SIGKILL)
            await cell.second.is_role("leader")
            standby = Client(cell.second.url)
            (incident,) = await asyncio.to_thread(standby.get, "incidents")
            await asyncio.to_thread(standby.post, "incidents", incident["id"], "abort", because="a test")
            await until(lambda: "step drain" in {seen.name for seen in receiver.spans()})
            shown = await asyncio.to_thread(standby.get, "incidents", incident["id"])
            spans = receiver.spans()
    assert {seen.trace for seen in spans} == {shown["trace_id"]}
    assert set(Counter(seen.id for seen in spans).values()) == {1}
    (drain,) = (seen for seen in spans[by_first:] if seen.name == "step drain")
    (cordon,) = (seen for seen in spans[:by_first] if seen.name == "step cordon")
    assert drain.attributes["fleetmend.outcome"] == "abandoned"
    assert (drain.parent, cordon.ended <= drain.began <= drain.ended) == (cordon.parent, True)
