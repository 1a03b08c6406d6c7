"""What a whole cell tells whoever scrapes it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from checks.finding import Action, Finding, Verdict
from controller.adapters import NodeSchedule, Notice
from controller.errors import Retryable
from controller.events import FindingRaised, NodePlaced, NodeSeen, OperatorActed, PresenceChanged
from controller.metrics.catalogue import BY_NAME, MOST_POOLS, MOST_SCOPES
from controller.metrics.fleet import NODES_A_TURN, census
from controller.metrics.scrape import exposition
from controller.policy.belief import Belief
from controller.policy.incident import Phase
from controller.policy.rules import BreakerRule, Budget, Limit
from controller.policy.scopes import FLEET, Scope
from tests.support.metrics import Series, named, series_of, value
from tests.support.open_cell import START, Holds, OpenCell, off_the_bus, open_cell, rules
from wire.messages import NodeFacts
from wire.metrics import OTHER
from wire.transport import Received

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SKU = "NVIDIA H100 80GB HBM3"


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell with n1 to n10, all well, of which two may be out."""
    async with open_cell(tmp_path) as opened:
        await opened.add_nodes(*(f"n{number}" for number in range(1, 11)))
        yield opened


class Unreachable(Holds):
    """A scheduler that does not answer."""

    async def observe(self) -> Mapping[str, NodeSchedule]:
        raise Retryable("no route to host", after_s=1.0)


class Full(list[Notice]):
    """A destination's memory that takes nothing now."""

    def append(self, _notice: Notice) -> None:
        raise Retryable("503 from the destination", after_s=1.0)


async def scraped(cell: OpenCell) -> Series:
    """Return what a scrape gives."""
    async with aiohttp.ClientSession(cell.url) as http, http.get("/metrics") as answer:
        assert answer.status == 200
        return series_of(await answer.text())


async def test_a_fleet_that_is_well(cell: OpenCell) -> None:
    found = await scraped(cell)
    assert named(found, "fleetmend_nodes") == {frozenset({("health", "ok"), ("pool", ""), ("sku", SKU)}): 10}
    assert value(found, "fleetmend_gpus", health="ok", pool="", sku=SKU) == 80
    assert value(found, "fleetmend_nodes_by_presence", presence="online") == 10
    assert value(found, "fleetmend_nodes_by_agent_version", version="0.1.0") == 10
    assert value(found, "fleetmend_held_nodes", kind="fleet", scope="fleet") == 0
    assert value(found, "fleetmend_budget_nodes", kind="fleet", scope="fleet") == 2
    assert value(found, "fleetmend_leader") == 1
    assert value(found, "fleetmend_steps_total", verb="cordon", outcome="done") == 0
    assert value(found, "fleetmend_log_events_total") == cell.cell.belief.last_event_id


async def test_everything_that_is_said_was_declared_and_is_within_its_bound(cell: OpenCell) -> None:
    values = await cell.metrics.values()
    assert values.keys() <= BY_NAME.keys()
    for name, samples in values.items():
        assert {len(labels) for labels in samples} <= {len(BY_NAME[name].labels)}, name
    assert set(BY_NAME) - values.keys() == set()


async def test_a_fault_from_finding_to_probation(cell: OpenCell) -> None:
    await cell.nodes.find("n1", off_the_bus())
    await cell.until_step("n1", "probation")
    await cell.cell.caught_up()
    found = await scraped(cell)
    for verb in ("cordon", "drain", "collect", "reboot", "verify"):
        assert value(found, "fleetmend_steps_total", verb=verb, outcome="done") == 1
        assert value(found, "fleetmend_step_duration_seconds_count", verb=verb) == 1
    assert value(found, "fleetmend_steps_under_way", verb="probation") == 1
    assert value(found, "fleetmend_open_incidents", fault_class="gpu_lost", state="running", severity="critical") == 1
    assert value(found, "fleetmend_incidents_opened_total", fault_class="gpu_lost") == 1
    assert value(found, "fleetmend_findings_raised_total", family="gpu", verdict="failed", origin="edge") == 1
    assert value(found, "fleetmend_findings_cleared_total", family="gpu") == 1
    assert value(found, "fleetmend_detection_seconds_count") == 1
    assert value(found, "fleetmend_isolation_seconds_count") == 1
    assert value(found, "fleetmend_agent_starts_total", rebooted="true") == 1
    assert value(found, "fleetmend_nodes_out", by="fleetmend") == 1
    assert value(found, "fleetmend_gpus_out") == 8


async def test_how_an_incident_ended_and_how_long_it_took(cell: OpenCell) -> None:
    await cell.nodes.find("n1", off_the_bus())
    await cell.until_step("n1", "probation")
    cell.clock.now += 120.0
    await cell.until("n1", "closed")
    await cell.cell.caught_up()
    found = await scraped(cell)
    assert value(found, "fleetmend_incidents_closed_total", outcome="returned") == 1
    assert value(found, "fleetmend_incident_duration_seconds_bucket", outcome="returned", le="300.0") == 1
    assert value(found, "fleetmend_incident_duration_seconds_sum", outcome="returned") == pytest.approx(120.0, abs=1.0)
    assert value(found, "fleetmend_nodes_out", by="fleetmend") == 0


async def test_what_waits_for_the_budget_and_for_how_long(cell: OpenCell) -> None:
    cell.nodes.deaf |= {"n1", "n2"}
    for name in ("n1", "n2", "n3"):
        await cell.nodes.find(name, off_the_bus())
    await cell.until("n3", "waiting")
    cell.clock.now += 40.0
    found = await scraped(cell)
    assert value(found, "fleetmend_incidents_waiting", waiting_for="budget") == 1
    waited_s = value(found, "fleetmend_incidents_waiting_longest_seconds", waiting_for="budget")
    assert waited_s == pytest.approx(40.0, abs=1.0)
    assert value(found, "fleetmend_held_nodes", kind="fleet", scope="fleet") == 2
    assert value(found, "fleetmend_nodes", health="failed", pool="", sku=SKU) == 3
    assert value(found, "fleetmend_findings", check="gpu.xid", verdict="failed") == 3


async def test_tickets_and_pages_that_were_sent(cell: OpenCell) -> None:
    before = await scraped(cell)
    await _handed_over(cell)
    await cell.until_true(lambda: len(cell.pages.sent) == 1)
    await cell.until("n1", "handed_over")
    await cell.cell.caught_up()
    found = await scraped(cell)
    for kind in ("ticket", "page"):
        assert value(before, "fleetmend_notices_total", kind=kind, destination=kind, news="filed") == 0
        assert value(found, "fleetmend_notices_total", kind=kind, destination=kind, news="filed") == 1
        assert value(found, "fleetmend_notices_open", kind=kind, destination=kind, state="open") == 1
        assert value(found, "fleetmend_notice_failures_total", kind=kind, destination=kind, outcome="permanent") == 0
    assert named(found, "fleetmend_notice_destination_failing") == {}


async def test_a_page_that_is_not_taken(cell: OpenCell) -> None:
    cell.pages.sent = Full()
    await _handed_over(cell)
    await cell.until_true(lambda: bool(cell.cell.belief.notices.silent))
    await cell.cell.caught_up()
    found = await scraped(cell)
    assert (value(found, "fleetmend_notice_failures_total", kind="page", destination="page", outcome="retry") or 0) >= 1
    assert value(found, "fleetmend_notice_destination_failing", kind="page", destination="page") == 1


async def _handed_over(cell: OpenCell) -> None:
    """Have a node fail that no reboot mends, until people get it."""
    cell.nodes.mends = False
    await cell.nodes.find("n1", off_the_bus())
    await cell.until_true(lambda: any(i.attempts.get("verify") for i in cell.cell.belief.open_incidents.values()))
    (incident,) = cell.cell.belief.open_incidents.values()
    while incident.phase is not Phase.HAND_OVER:
        cell.clock.now += 11.0
        await cell.tell()


async def test_a_question_to_people_waits_for_approval(cell: OpenCell) -> None:
    full = Finding("storage.space", "/", "", Verdict.DEGRADED, Action.NONE, "/ has 3 % free.")
    await cell.nodes.find("n1", full)
    await cell.until_true(lambda: bool(cell.cell.belief.open_incidents))
    await cell.until("n1", "waiting")
    assert value(await scraped(cell), "fleetmend_incidents_waiting", waiting_for="approval") == 1


async def test_pauses_and_what_people_did(cell: OpenCell) -> None:
    await cell.tell(OperatorActed("pause", "fleet", "alice", "maintenance"))
    await cell.tell(OperatorActed("shout", "fleet", "mallory", ""))
    found = await scraped(cell)
    assert value(found, "fleetmend_pauses", kind="fleet") == 1
    assert value(found, "fleetmend_operator_acts_total", verb="pause") == 1
    assert value(found, "fleetmend_operator_acts_total", verb=OTHER) == 1


async def test_silent_nodes_and_a_freeze(cell: OpenCell) -> None:
    await cell.tell(*(PresenceChanged(f"n{number}", "silent", "nothing heard") for number in range(1, 6)))
    found = await scraped(cell)
    assert value(found, "fleetmend_nodes_by_presence", presence="silent") == 5
    assert value(found, "fleetmend_nodes", health="unknown", pool="", sku=SKU) == 5
    assert value(found, "fleetmend_frozen") == 1


async def test_a_result_of_a_benchmark(cell: OpenCell) -> None:
    await cell.ask_bench("n1", benchmark="gemm")
    await cell.until_true(lambda: any(order.node == "n1" for order in cell.nodes.orders))
    assert value(await scraped(cell), "fleetmend_bench_leases", benchmark="gemm") == 1
    await cell.nodes.come_back("n1", BenchResult(Benchmark.GEMM, Outcome.FAIL, "The sums are wrong."))
    found = await scraped(cell)
    assert value(found, "fleetmend_bench_results_total", benchmark="gemm", outcome="fail") == 1
    assert value(found, "fleetmend_bench_nodes", benchmark="gemm", outcome="fail") == 1


async def test_messages_that_were_dropped(cell: OpenCell) -> None:
    await cell.front.intake.take(Received("fleetmend/v1/main/node/n1/event", b"{", False, lambda: None))
    cell.front.intake.rejected["something new"] += 2
    found = await scraped(cell)
    assert sum(named(found, "fleetmend_messages_rejected_total").values()) == 3
    assert value(found, "fleetmend_messages_rejected_total", reason=OTHER) == 2


async def test_a_scheduler_that_cannot_be_read(cell: OpenCell) -> None:
    await cell.until_seen("n1")
    before = await scraped(cell)
    cell.front.watch.scheduler = Unreachable()
    await cell.until_true(lambda: bool(cell.front.watch.error))
    found = await scraped(cell)
    assert value(before, "fleetmend_scheduler_up", scheduler="memory") == 1
    assert value(found, "fleetmend_scheduler_up", scheduler="memory") == 0
    assert (value(found, "fleetmend_scheduler_errors_total") or 0) >= 1
    assert (value(found, "fleetmend_scheduler_seen_time_seconds") or 0) >= START


async def test_the_store(cell: OpenCell) -> None:
    assert named(await scraped(cell), "fleetmend_store_snapshot_age_seconds") == {}
    cell.front.store_use = lambda: {"used_bytes": 4096, "events": 9, "snapshot_age_s": 7.5, "error": "no space"}
    found = await scraped(cell)
    assert value(found, "fleetmend_store_bytes") == 4096
    assert value(found, "fleetmend_store_events") == 9
    assert value(found, "fleetmend_store_snapshot_age_seconds") == 7.5
    assert value(found, "fleetmend_store_compaction_failed") == 1


async def test_a_controller_that_stands_by_says_so(cell: OpenCell) -> None:
    cell.front.leads = lambda: False
    assert value(await scraped(cell), "fleetmend_leader") == 0


async def test_more_pools_than_the_bound_are_counted_together(cell: OpenCell) -> None:
    for number in range(2 * MOST_POOLS):
        await cell.tell(
            NodeSeen(f"p{number}", "boot-1", NodeFacts()), NodePlaced(f"p{number}", {"pool": [f"{number}"]})
        )
    counted = named(await scraped(cell), "fleetmend_nodes")
    pools = {dict(labels)["pool"] for labels in counted}
    assert len(pools) == MOST_POOLS
    assert OTHER in pools
    assert sum(counted.values()) == 10 + 2 * MOST_POOLS


async def test_budgets_of_more_scopes_than_the_bound_show_the_fullest(tmp_path: Path) -> None:
    named_racks = [Limit(Scope("rack", f"r{number:03}"), Budget(nodes=3)) for number in range(2 * MOST_SCOPES)]
    async with open_cell(tmp_path, replace(rules(nodes=5), limits=tuple(named_racks))) as cell:
        await cell.add_nodes("n1", "n2")
        await cell.tell(NodePlaced("n1", {"rack": ["r399"]}))
        cell.nodes.deaf.add("n1")
        await cell.nodes.find("n1", off_the_bus())
        await cell.until_true(lambda: bool(cell.cell.belief.held))
        found = await scraped(cell)
    budgets = named(found, "fleetmend_budget_nodes")
    assert len(budgets) == len(named(found, "fleetmend_held_nodes")) == MOST_SCOPES
    assert value(found, "fleetmend_held_nodes", kind="rack", scope="r399") == 1
    assert value(found, "fleetmend_budget_nodes", kind="fleet", scope="fleet") == 5


async def test_a_budget_of_every_scope_of_a_kind_shows_those_that_are_used(tmp_path: Path) -> None:
    async with open_cell(tmp_path, replace(rules(nodes=5), limits=(Limit(Scope("rack"), Budget(nodes=1)),))) as cell:
        await cell.add_nodes("n1", "n2")
        await cell.tell(NodePlaced("n1", {"rack": ["r1"]}), NodePlaced("n2", {"rack": ["r2"]}))
        cell.nodes.deaf.add("n1")
        await cell.nodes.find("n1", off_the_bus())
        await cell.until_true(lambda: bool(cell.cell.belief.held))
        found = await scraped(cell)
    assert value(found, "fleetmend_held_nodes", kind="rack", scope="r1") == 1
    assert value(found, "fleetmend_budget_nodes", kind="rack", scope="r1") == 1
    assert value(found, "fleetmend_held_nodes", kind="rack", scope="r2") is None


async def test_an_open_breaker(tmp_path: Path) -> None:
    rule = BreakerRule(FLEET, Budget(nodes=1), window_s=600.0, cooldown_s=600.0)
    async with open_cell(tmp_path, replace(rules(nodes=5), breakers=(rule,), domains=())) as cell:
        await cell.add_nodes("n1", "n2", "n3")
        cell.nodes.deaf |= {"n1", "n2", "n3"}
        for name in ("n1", "n2"):
            await cell.nodes.find(name, off_the_bus())
        await cell.until("n2", "waiting")
        found = await scraped(cell)
    assert value(found, "fleetmend_breakers_open", kind="fleet") == 1
    assert value(found, "fleetmend_incidents_waiting", waiting_for="breaker") == 1


async def test_findings_that_nobody_answers(cell: OpenCell) -> None:
    strange = Finding("site.odd", "host", "", Verdict.FAILED, Action.NONE, "It is odd.")
    await cell.tell(FindingRaised("n1", "boot-1", strange, START))
    found = await scraped(cell)
    assert value(found, "fleetmend_findings_left") == 1
    assert value(found, "fleetmend_findings", check="site.odd", verdict="failed") == 1


async def test_the_format_is_the_one_that_is_asked_for(cell: OpenCell) -> None:
    async with aiohttp.ClientSession(cell.url) as http:
        async with http.get("/metrics", headers={"Accept": OPENMETRICS}) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await answer.text()).endswith("# EOF\n")
        async with http.get("/metrics") as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE_PLAIN_0_0_4
            assert "# EOF" not in await answer.text()
        async with http.get("/metrics", headers={"Accept-Encoding": "gzip"}, compress=False) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
        async with http.post("/metrics") as answer:
            assert answer.status == 405


async def test_metrics_answer_to_the_controllers_own_names_alone(cell: OpenCell) -> None:
    named_otherwise = {"Host": "evil.example"}
    async with aiohttp.ClientSession(cell.url) as http, http.get("/metrics", headers=named_otherwise) as answer:
        assert answer.status == 403


@given(st.text())
def test_no_accept_header_makes_it_fail(accept: str) -> None:
    text, content_type = exposition({"fleetmend_leader": {(): 1.0}}, accept)
    assert b"fleetmend_leader 1.0" in text
    assert content_type.startswith(("text/plain", "application/openmetrics-text"))


@pytest.mark.parametrize("version", ["x", "1.x", "", "99999999999", "0.0.1", "-1", "1..2"])
def test_a_version_that_is_none_gets_an_answer(version: str) -> None:
    for kind in ("application/openmetrics-text", "text/plain"):
        text, _ = exposition({"fleetmend_leader": {(): 1.0}}, f"{kind}; version={version}")
        assert b"fleetmend_leader 1.0" in text


@given(st.text())
def test_whatever_a_node_is_called_comes_back_as_it_is(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    text, _ = exposition({"fleetmend_nodes": {("ok", name, ""): 1.0}}, OPENMETRICS)
    assert value(series_of(text.decode()), "fleetmend_nodes", health="ok", pool=name, sku="") == 1.0


async def test_two_who_scrape_at_once_are_told_the_same(cell: OpenCell) -> None:
    cell.metrics.monotonic = lambda: 0.0
    texts = await asyncio.gather(*(cell.metrics.text() for _ in range(5)))
    await cell.tell(OperatorActed("pause", "fleet", "alice", "maintenance"))
    later, _ = await cell.metrics.text()
    assert value(series_of(later.decode()), "fleetmend_pauses", kind="fleet") is None
    pauses = [value(series_of(text.decode()), "fleetmend_pauses", kind="fleet") for text, _ in texts]
    assert pauses == [None] * 5


def test_counting_lets_go_of_the_loop_after_so_many_nodes() -> None:
    belief = Belief()
    for number in range(3 * NODES_A_TURN):
        belief.node(f"n{number}")
    counting = census(belief)
    turns = 0
    with pytest.raises(StopIteration):
        while True:
            counting.send(None)
            turns += 1
    assert turns == 3
