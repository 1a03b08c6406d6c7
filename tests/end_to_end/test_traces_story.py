"""A drill on a whole cell with a real broker, told to a real receiver of traces."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until
from tests.support.otlp import Receiver, Seen, check_trace, receiving

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PLAYBOOK = """
playbook: gpu_lost
summary: A GPU has fallen off the bus.
fault_class: gpu_lost
severity: critical
precedence: 10
mode: act
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, codes: ["79"]}
  - {check: gpu.count, codes: [lost]}
guards: {drain: needed, reversible: true}
steps:
  - cordon: {}
  - drain: {jobs: requeue}
  - reboot: {}
  - verify: {}
  - probation: {for: 10m}
  - uncordon: {}
hand_over:
  - ticket: {team: platform}
"""
SERVICES = {"fleetmend-agent", "fleetmend-broker", "fleetmend-controller", "fleetmend-scheduler"}


@dataclass(slots=True)
class Told:
    """A cell, and what it tells."""

    cell: EmbeddedCell
    traces: Receiver

    def trace_of(self, incident: dict[str, Any]) -> list[Seen]:
        """Return the spans of an incident's trace, once its root is there."""
        trace_id = self.cell.get(f"/incidents/{incident['id']}")["trace_id"]

        def whole() -> list[Seen]:
            spans = self.traces.trace(trace_id)
            return spans if any(seen.name == "incident" for seen in spans) else []

        return until("the whole trace has come", whole)


@contextmanager
def listening() -> Iterator[Receiver]:
    """Run the receiver in a thread of its own, as the test waits for processes."""
    found: Future[Receiver] = Future()
    ended, loop = asyncio.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        async with receiving() as receiver:
            found.set_result(receiver)
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield found.result(10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    require_mosquitto()
    state = tmp_path_factory.mktemp("cell")
    folder = tmp_path_factory.mktemp("settings")
    settings, playbooks = folder / "more.toml", folder / "playbooks"
    playbooks.mkdir()
    (playbooks / "gpu_lost.yaml").write_text(PLAYBOOK)
    with listening() as receiver:
        settings.write_text(
            f"""
            [traces]
            endpoint = "{receiver.url}"
            ui_url = "https://traces.example/trace/{{trace_id}}"
            """
        )
        arguments = ("--speed", "3600", "--settings", str(settings), "--playbooks", str(playbooks))
        with EmbeddedCell(state, simulate=2, scheduler="node", arguments=arguments) as embedded:
            yield Told(embedded, receiver)


def only(spans: list[Seen], name: str, service: str = "fleetmend-controller") -> Seen:
    found = [seen for seen in spans if seen.name == name and seen.service == service]
    assert len(found) == 1, f"{name}: {len(found)}"
    return found[0]


def above(spans: list[Seen], seen: Seen) -> list[tuple[str, str]]:
    """Return who is above a span, itself first: (service, name)."""
    names = {each.id: each for each in spans}
    found = [seen]
    while found[-1].parent:
        found.append(names[found[-1].parent])
    return [(each.service.removeprefix("fleetmend-"), each.name) for each in found]


def test_a_drill_is_one_trace_from_the_agent_to_the_return(told: Told) -> None:
    until("n1 says who holds it", lambda: told.cell.node("n1")["schedulable"])
    told.cell.drill("gpu-off-bus", "n1")
    incident = told.cell.incident_ended("n1")
    assert incident["outcome"] == "returned"
    spans = told.trace_of(incident)
    check_trace(spans)
    assert {seen.service for seen in spans} == SERVICES
    event = "fleetmend/v1/{cell}/node/{node}/event"
    (first,) = [
        seen for seen in spans if seen.name == f"process {event}" and ("agent", "find gpu.xid") in above(spans, seen)
    ]
    assert above(spans, first) == [
        ("controller", f"process {event}"),
        ("broker", f"deliver {event}"),
        ("agent", f"publish {event}"),
        ("agent", "find gpu.xid"),
        ("controller", "incident"),
    ]
    find = only(spans, "find gpu.xid", "fleetmend-agent")
    assert (find.resource["host.name"], find.attributes["hw.type"]) == ("n1", "gpu")
    way = [find, *(seen for seen in reversed(spans) if ("agent", "find gpu.xid") in above(spans, seen)[1:])]
    assert {"outbox", f"publish {event}", f"deliver {event}", "decide", "store"} <= {seen.name for seen in way}
    cordon = only(spans, "step cordon")
    assert first.began <= cordon.began <= first.ended, "what was found and what is done are one commit"
    served = only(spans, "node cordon", "fleetmend-scheduler")
    assert above(spans, served) == [
        ("scheduler", "node cordon"),
        ("controller", "call cordon"),
        ("controller", "step cordon"),
        ("controller", "incident"),
    ]
    reboots = [seen for seen in spans if seen.name == "carry out reboot"]
    assert [above(spans, seen) for seen in reboots][:1] == [
        [
            ("agent", "carry out reboot"),
            ("broker", "deliver fleetmend/v1/{cell}/node/{node}/order"),
            ("controller", "publish fleetmend/v1/{cell}/node/{node}/order"),
            ("controller", "step reboot"),
            ("controller", "incident"),
        ]
    ]
    steps = [only(spans, f"step {verb}") for verb in ("cordon", "drain", "reboot", "verify", "probation", "uncordon")]
    assert [step.began for step in steps] == sorted(step.began for step in steps)
    assert all(one.ended <= next_one.began for one, next_one in itertools.pairwise(steps))


def test_the_incident_says_where_its_trace_is(told: Told) -> None:
    (incident,) = told.cell.incidents("n1")
    shown = told.cell.get(f"/incidents/{incident['id']}")
    assert shown["trace_url"] == f"https://traces.example/trace/{shown['trace_id']}"
    assert {entry["trace_id"] for entry in shown["timeline"]} == {shown["trace_id"]}
    assert shown["trace_url"] in told.cell.cli("incident", incident["id"]).stdout
    status = told.cell.get("/status")["traces"]
    assert (status["receiver"], status["dropped"], status["error"]) == (told.traces.url, 0, "")
    assert status["sent"] >= 40
    assert f"waiting; {told.traces.url}" in told.cell.cli("status").stdout
