"""What is told of a node over time, from the log alone: parts across swaps, checks, counters and benchmarks."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from checks.bench_limits import shipped_limits
from checks.bench_result import BenchNumber
from checks.finding import Action, Finding, Verdict
from controller.api.moments import iso
from controller.api.node_numbers import benchmarks, counters, lanes
from controller.api.node_parts import parts_of
from controller.bench_events import BenchJudged, JudgedNumber
from controller.events import CheckLevelsChanged, Event, FindingRaised, Logged, NodeSeen
from controller.policy.belief import Belief
from controller.policy.history import Past
from controller.policy.incident import Rung
from controller.policy.node_belief import NodeBelief, Raised
from tests.support.open_cell import START, OpenCell, off_the_bus
from wire.messages import CheckLevel, NodeFacts

OLD, NEW = "GPU-4e0b29f4-7a31-4f52-9c07-31d6a2e8b9c1", "GPU-5e0b29f4-7a31-4f52-9c07-31d6a2e8b9c1"
PORT = "rdma InfiniBand guid 946d:ae03:00f1:a220 firmware 28.39.1002"


def gpu(device: str, serial: str, *, index: int = 1, pci: str = "0000:3b:00") -> dict[str, str]:
    """Return how a node names a GPU."""
    return {device: f"gpu {index} NVIDIA H100 80GB HBM3 serial {serial} at {pci}"}


def seen(at: float, devices: dict[str, str]) -> Logged:
    """Return a node's word on what it is."""
    return Logged(int(at), at, NodeSeen("n1", "boot-1", NodeFacts(devices=devices)))


def believed(devices: dict[str, str]) -> tuple[Belief, NodeBelief]:
    """Return a belief in one node that is online."""
    belief = Belief()
    node = belief.node("n1")
    node.facts, node.presence = NodeFacts(devices=devices), "online"
    return belief, node


def past(incident_id: str, node: str, opened_at: float) -> Past:
    """Return an incident that a reboot mended."""
    rungs = (Rung("reboot", "done", opened_at + 60.0, verified=True),)
    return Past(incident_id, node, OLD, "gpu_lost", opened_at, opened_at + 90.0, "returned", "Xid 79", rungs)


def test_a_part_brings_its_past_from_another_node_and_its_place_remembers_who_sat_there() -> None:
    belief, node = believed({**gpu(NEW, "S-new"), "mlx5_0/1": PORT, "bmc": "iDRAC 7.10"})
    belief.history.parts["S-new"] = {"inc-000003": past("inc-000003", "n7", 30.0)}
    belief.history.parts["S-old"] = {"inc-000001": past("inc-000001", "n1", 120.0)}
    log = [seen(100.0, gpu(OLD, "S-old")), seen(200.0, gpu(OLD, "S-old")), seen(300.0, gpu(NEW, "S-new"))]
    first, port, other = parts_of(belief, node, log)

    assert (first.kind, first.slot, first.serial, first.first_seen) == (
        "gpu", "GPU 1, PCI 0000:3b:00", "S-new", iso(300.0),
    )  # fmt: skip
    assert [(each.incident_id, each.node, each.rungs[0].verified) for each in first.past] == [
        ("inc-000003", "n7", True)
    ]
    (before,) = first.before
    assert (before.serial, before.first_seen, before.until) == ("S-old", iso(100.0), iso(300.0))
    assert [each.incident_id for each in before.past] == ["inc-000001"]
    assert (port.serial, port.firmware, port.model) == ("946d:ae03:00f1:a220", "28.39.1002", "InfiniBand")
    assert port.first_seen is None and port.before == []
    assert (other.kind, other.says, other.serial) == ("other", "iDRAC 7.10", "")


def test_a_part_that_comes_back_to_its_place_was_away_in_between() -> None:
    belief, node = believed(gpu(OLD, "S-old"))
    log = [seen(1.0, gpu(OLD, "S-old")), seen(2.0, gpu(NEW, "S-new")), seen(3.0, gpu(OLD, "S-old"))]
    (part,) = parts_of(belief, node, log)
    assert part.first_seen == iso(3.0)
    assert [each.serial for each in part.before] == ["S-new", "S-old"]


def test_a_part_is_as_ill_as_the_worst_that_stands_on_it_and_unknown_while_nobody_speaks() -> None:
    belief, node = believed({**gpu(NEW, "S-new"), **gpu(OLD, "S-2", index=2, pci="0000:5b:00")})
    found = replace(off_the_bus("0000:3b:00"), serial="", pci="")
    node.findings[found.key] = Raised(found, 1.0, 1.0, "edge")
    belief.condemned["S-new"] = "inc-000009"
    ill, well = parts_of(belief, node, [])
    assert (ill.verdict, ill.findings, ill.condemned_by) == ("failed", 1, "inc-000009")
    assert (well.verdict, well.findings, well.condemned_by) == ("ok", 0, "")
    node.presence = "lost"
    assert [part.verdict for part in parts_of(belief, node, [])] == ["failed", "unknown"]


@given(st.dictionaries(st.text(), st.text() | st.from_regex(r"gpu \d+ .* serial \S* at \S+", fullmatch=True)))
def test_whatever_a_node_names_is_shown_once(devices: dict[str, str]) -> None:
    belief, node = believed(devices)
    assert sorted(part.device for part in parts_of(belief, node, [seen(1.0, devices)])) == sorted(devices)


def raised(at: float, **evidence: str) -> Logged:
    """Return a finding with this evidence."""
    finding = Finding(
        "fabric.rdma_flap", "mlx5_0/1", "flapping", Verdict.DEGRADED, Action.NONE, "so", evidence=evidence
    )
    return Logged(int(at), at, FindingRaised("n1", "boot-1", finding, at))


def test_counters_are_what_findings_carried_and_nothing_else() -> None:
    told = [
        raised(1.0, link_downed="12", ber="1.5e-9", line="12 errors", once="7"),
        raised(2.0, link_downed="15", ber="2e-9", line="13 errors", huge="9" * 400),
        raised(3.0, link_downed="9", huge="1e999"),
    ]
    found = {each.name: [(point.at, point.value) for point in each.points] for each in counters(told)}
    assert found == {
        "link_downed": [(iso(1.0), 12.0), (iso(2.0), 15.0), (iso(3.0), 9.0)],
        "ber": [(iso(1.0), 1.5e-9), (iso(2.0), 2e-9)],
    }


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=40)), max_size=6))
def test_no_evidence_is_too_odd_to_be_looked_at(texts: list[dict[str, str]]) -> None:
    for counter in counters(_told(at, evidence) for at, evidence in enumerate(texts)):
        assert len(counter.points) > 1


def _told(at: int, evidence: dict[str, str]) -> Logged:
    finding = Finding("gpu.ecc", "GPU-1", "", Verdict.DEGRADED, Action.NONE, "so", evidence=evidence)
    return Logged(at, float(at), FindingRaised("n1", "boot-1", finding, float(at)))


def levels(at: float, **verdicts: str) -> Logged:
    """Return how checks stand."""
    checks = {name.replace("_", ".", 1): CheckLevel(verdict, at, verdict) for name, verdict in verdicts.items()}
    return Logged(int(at), at, CheckLevelsChanged("n1", checks))


def test_a_check_has_a_lane_unless_it_was_always_ok() -> None:
    told = [
        levels(1.0, gpu_xid="ok", gpu_ecc="unknown", host_disk="ok", gpu_old="unknown"),
        levels(2.0, gpu_xid="failed", gpu_ecc="ok", host_disk="ok", gpu_old="unknown"),
        levels(3.0, gpu_xid="failed", gpu_ecc="ok", host_disk="ok"),
        levels(4.0, gpu_xid="ok", gpu_ecc="ok", host_disk="ok"),
    ]
    shown = {lane.check: [(span.since, span.until, span.verdict) for span in lane.spans] for lane in lanes(told)}
    assert shown == {
        "gpu.xid": [(iso(1.0), iso(2.0), "ok"), (iso(2.0), iso(4.0), "failed"), (iso(4.0), None, "ok")],
        "gpu.old": [(iso(1.0), iso(3.0), "unknown")],
    }


def judged(at: float, *numbers: JudgedNumber) -> Logged:
    """Return a result."""
    event: Event = BenchJudged("n1", "", "run-1", "nccl_all_reduce", "pass", "so", numbers=list(numbers))
    return Logged(int(at), at, event)


def number(value: float | None, device: str, size_bytes: int = 1 << 30, **inputs: str) -> JudgedNumber:
    """Return one number of a device."""
    return JudgedNumber(BenchNumber("node_all_reduce", value, device, size_bytes=size_bytes), "pass", "", inputs)


def test_a_run_counts_by_its_worst_device_at_the_largest_size() -> None:
    worst = number(440.0, "GPU-b", fail="430", median="470")
    run = judged(5.0, number(90.0, "GPU-a", 1 << 20), number(460.0, "GPU-a"), worst, number(None, "GPU-c"))
    (series,) = benchmarks([run], shipped_limits())
    assert (series.benchmark, series.unit, series.size_bytes) == ("nccl_all_reduce", "GB/s", 1 << 30)
    (point,) = series.points
    assert (point.value, point.device, point.fail, point.median) == (440.0, "GPU-b", 430.0, 470.0)


async def test_the_route_tells_it_of_one_node_alone(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    facts = NodeFacts(True, devices=gpu(NEW, "1650324018533"))
    await cell.add_nodes("n20", facts=facts)
    await cell.nodes.find("n1", off_the_bus())
    async with http.get("/api/v1/nodes/n20/history") as answer:
        said = await answer.json()
    assert (said["since"], said["whole"], said["counters"]) == (iso(START), True, [])
    assert [part["serial"] for part in said["parts"]] == ["1650324018533"]
    async with http.get("/api/v1/nodes/n99/history") as answer:
        assert answer.status == 404
