"""Holding a node by orders, and what the node says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.hold_flag import FOLDER, HoldFlag
from agent.hold_targets import NoTargets, SystemdTargets
from agent.holding import Holding
from agent.machine import ActionFailed, ActionRefused
from agent.repairs.programs import Programs
from agent.repairs.units import Units
from checks.readings import GpuProcess, GpuReading, NvmlReading
from checks.readings.nvml import GpuDetails
from tests.support.agent_node import PCI, UUID, ManualClock
from tests.support.fake_host import FakeHost
from wire.messages import CheckLevel, NodeHold
from wire.orders import Order, OrderAction

INCIDENT = "inc-000007"


def order(action: OrderAction = OrderAction.HOLD, incident: str = INCIDENT) -> Order:
    return Order("o1", "n1", action, 0.0, 1.0, 1, incident_id=incident, parameters={"reason": "Xid 79."})


@dataclass(slots=True)
class Gpus:
    """NVML as a test sets it: it answers what is on the GPU once it is asked."""

    clock: ManualClock
    processes: tuple[GpuProcess, ...] | None = ()
    failure: str = ""
    asked: int = 0
    forgot: int = 0
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def last_readings(self) -> Mapping[str, Any]:
        return self.told

    async def run_checks(self, ids: tuple[str, ...]) -> dict[str, CheckLevel]:
        assert ids == ("gpu.count",)
        self.asked += 1
        gpu = GpuReading(0, UUID, PCI, details=GpuDetails(processes=self.processes))
        self.told["nvml"] = NvmlReading(self.clock.now, (gpu,), failure=self.failure, expected=True)
        return {}

    async def forget(self) -> None:
        self.forgot += 1


@dataclass(slots=True)
class Site:
    """One node that can be held."""

    directory: Path
    clock: ManualClock = field(default_factory=ManualClock)
    gpus: Gpus = field(init=False)
    published: list[NodeHold] = field(default_factory=list)
    holding: Holding = field(init=False)

    def __post_init__(self) -> None:
        self.gpus = Gpus(self.clock)
        flag = HoldFlag(self.directory / FOLDER, self.directory / "held", boot_id=lambda: "boot-1")
        self.holding = Holding(flag, NoTargets(), self.gpus, self.gpus.forget, self.clock.clock)
        self.holding.publish = lambda: self.published.append(self.holding.level())

    def by(self, who: str, why: str) -> None:
        folder = self.directory / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"held-by-{who}").write_text(why)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_node_is_held_told_of_and_given_back(site: Site) -> None:
    done = await site.holding.hold(order())
    assert done.because == "the node is held for inc-000007."
    level = site.published[-1]
    assert (level.held_by, level.reason, level.since) == (INCIDENT, "Xid 79.", site.clock.clock.wall())
    assert (await site.holding.hold(order())).because == "the node is held for inc-000007 already."
    assert (await site.holding.release(order(OrderAction.RELEASE))).because == "the node is given back."
    assert site.published[-1].held_by == ""
    assert (await site.holding.release(order(OrderAction.RELEASE))).because == "the node is given back."


async def test_whoever_else_holds_it_keeps_it(site: Site) -> None:
    site.by("operator", "memory test")
    with pytest.raises(ActionRefused, match="the node is held by somebody else: operator: memory test"):
        await site.holding.hold(order())
    with pytest.raises(ActionRefused, match="the node is held by somebody else: operator: memory test"):
        await site.holding.release(order(OrderAction.RELEASE))
    assert site.holding.level().foreign == "operator: memory test"


async def test_two_incidents_do_not_share_a_hold(site: Site) -> None:
    await site.holding.hold(order())
    for act in (site.holding.hold(order(incident="inc-8")), site.holding.release(order(incident="inc-8"))):
        with pytest.raises(ActionRefused, match="the node is held for another incident of fleetmend: inc-000007"):
            await act


async def test_given_back_by_us_it_may_still_be_held(site: Site) -> None:
    await site.holding.hold(order())
    site.by("operator", "memory test")
    done = await site.holding.release(order(OrderAction.RELEASE))
    assert "still held by somebody else: operator: memory test" in done.because
    assert site.holding.level() == replace_jobs(NodeHold(foreign="operator: memory test"), site)


def replace_jobs(hold: NodeHold, site: Site) -> NodeHold:
    seen = site.holding.level()
    return NodeHold(hold.held_by, hold.reason, hold.since, hold.foreign, seen.jobs, seen.jobs_unknown)


async def test_an_order_without_an_incident_is_refused(site: Site) -> None:
    with pytest.raises(ActionRefused, match="names no incident"):
        await site.holding.hold(order(incident=""))


async def test_a_long_reason_is_cut_and_the_flag_stays_ours(site: Site) -> None:
    long = Order("o" * 200, "n1", OrderAction.HOLD, 0.0, 1.0, 1, "", INCIDENT, {"reason": "\n\u20ac\0" * 5_000})
    await site.holding.hold(long)
    assert (site.holding.level().held_by, site.holding.level().reason) == (INCIDENT, "\u20ac" * 300)


async def test_a_flag_that_cannot_be_written_fails_the_order(site: Site) -> None:
    (site.directory / "run").write_text("in the way")
    with pytest.raises(ActionFailed, match=r"Not a directory|File exists"):
        await site.holding.hold(order())
    assert not site.published


async def test_a_benchmark_of_our_own_is_no_job(site: Site) -> None:
    ours = GpuProcess(4710, name="python", state="R", is_benchmark=True)
    site.gpus.processes = (ours, GpuProcess(4711, name="train", state="R"))
    await site.gpus.run_checks(("gpu.count",))
    assert site.holding.level().jobs == ["4711 train"]


async def test_jobs_are_told_only_from_what_was_read_since_the_hold(site: Site) -> None:
    site.gpus.processes = (GpuProcess(4711, name="train", state="R"), GpuProcess(9, state=""))
    await site.gpus.run_checks(("gpu.count",))
    assert site.holding.level().jobs == ["4711 train"]
    watching = asyncio.create_task(site.holding.watch())
    site.gpus.processes = (GpuProcess(4712, name="train2", state="R"),)
    await site.holding.hold(order())
    assert (site.holding.level().jobs, site.holding.level().jobs_unknown) == ([], "NVML has not been asked since")
    await site.clock.advance(2.5)
    assert site.holding.level().jobs == ["4712 train2"]
    assert site.gpus.forgot == 1
    site.gpus.processes = ()
    await site.clock.advance(15.0)
    assert (site.published[-1].jobs, site.published[-1].jobs_unknown) == ([], "")
    asked = site.gpus.asked
    await site.clock.advance(60.0)
    assert site.gpus.asked == asked
    watching.cancel()


async def test_a_hold_that_comes_or_goes_by_hand_is_told_at_once(site: Site) -> None:
    watching = asyncio.create_task(site.holding.watch())
    await site.clock.advance(2.5)
    assert site.published == []
    site.by("operator", "memory test")
    await site.clock.advance(2.5)
    assert site.published[-1].foreign == "operator: memory test"
    watching.cancel()


@pytest.mark.parametrize(("processes", "failure"), [(None, ""), ((), "timeout")])
async def test_that_nobody_can_tell_is_never_none(site: Site, processes: Any, failure: str) -> None:
    site.gpus.processes, site.gpus.failure = processes, failure
    await site.gpus.run_checks(("gpu.count",))
    assert "NVML does not" in site.holding.level().jobs_unknown


class TestTargets:
    """The targets that follow the flag."""

    def targets(self, host: FakeHost, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{host.bin}:/usr/bin:/bin")
        units = Units(Programs(), root=host.root, sleep=host.sleep)
        site.holding.targets = SystemdTargets(units, root=host.root, sleep=host.sleep)

    @pytest.fixture
    def host(self, tmp_path: Path) -> FakeHost:
        return FakeHost(tmp_path / "host")

    async def test_where_they_are_not_installed_the_file_is_all(
        self, host: FakeHost, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.targets(host, site, monkeypatch)
        done = await site.holding.hold(order())
        assert done.because.endswith(
            "fleetmend-held.target is not installed; what starts work has to look at the file."
        )

    async def test_the_order_is_done_when_the_target_is_active(
        self, host: FakeHost, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.targets(host, site, monkeypatch)
        host.unit("fleetmend-held.target")
        assert (await site.holding.hold(order())).because.endswith("fleetmend-held.target is active.")

    async def test_a_path_unit_that_nobody_enabled_is_found_out(
        self, host: FakeHost, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.targets(host, site, monkeypatch)
        host.unit("fleetmend-held.target", "inactive")
        with pytest.raises(ActionFailed, match=r"did not become active within 10 s: is fleetmend-hold\.path enabled"):
            await site.holding.hold(order())
        assert site.holding.level().held_by == INCIDENT
        assert [file.name for file in (site.directory / FOLDER).iterdir()] == ["held"]
