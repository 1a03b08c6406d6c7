"""The agent as a process, on a simulated machine, over a real Mosquitto; the test speaks for the controller."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import boots
from agent.main import main
from agent.node import OUTBOX_FILE
from agent.onlooker import take_stock
from agent.outbox import Outbox
from agent.settings import EX_CONFIG, load_settings
from agent.simulation.machine import EX_REBOOTING, SimulatedMachine
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark
from cli.inventory_file import put_in_force, render
from tests.support.agent_site import NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings, until
from wire import topics
from wire.bench import BenchWish, to_parameters
from wire.messages import AgentStarted, BenchEnded, FindingCleared, FindingRaised, OrderEnded, Presence, Status
from wire.orders import OrderAction


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_broker(tmp_path / "broker") as broker:
        machine = SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0)
        built = Site(tmp_path, broker, machine)
        yield built
        if built.process is not None and built.process.returncode is None:
            await built.end(signal.SIGKILL)


@pytest.fixture
async def controller(site: Site) -> AsyncIterator[Controller]:
    async with listening(settings(site.broker), f"{topics.ROOT}/main/node/+/+") as listener:
        yield Controller(listener)


def is_healthy(status: Status) -> bool:
    return bool(status.checks) and all(level.verdict == "ok" for level in status.checks.values())


pytestmark = pytest.mark.broker


async def test_the_agent_starts_watches_and_stops_in_order(site: Site, controller: Controller) -> None:
    await site.start()
    (started,) = await controller.bodies(AgentStarted)
    assert (started.rebooted, started.previous_boot_id) == (False, "")
    status = (await controller.bodies(Status, is_healthy))[-1]
    assert (
        status.facts.simulated,
        status.facts.gpu_count,
        status.facts.gpu_model,
    ) == (True, 8, "NVIDIA H100 80GB HBM3")
    assert status.findings == []
    assert await site.end() == 0
    presences = await controller.bodies(Presence, count=2)
    assert [presence.state for presence in presences] == ["online", "stopped"]
    assert '"event": "agent.stopped"' in site.log()
    start = Outbox(site.directory / "state" / OUTBOX_FILE, "any").load(boots.STARTS)
    assert start["stopped_at"] >= start["started_at"] > 0


async def test_a_fault_is_told_repaired_and_cleared_by_orders_alone(site: Site, controller: Controller) -> None:
    await site.start()
    await controller.bodies(Status, is_healthy)
    gpu = site.machine.hardware().gpus[2]
    injected = await controller.order(
        OrderAction.INJECT_FAULT, "drill", device=gpu.uuid, fault="ecc-uncontained", repair="succeeds"
    )
    assert injected.outcome == "done", injected.because
    raised = await controller.bodies(FindingRaised, lambda body: body.finding.code == "95")
    assert {gpu.uuid} == {body.finding.device for body in raised}
    assert raised[0].finding.serial == gpu.serial
    looked = await controller.order(OrderAction.RUN_CHECKS, "verify/1")
    assert (looked.outcome, looked.evidence["gpu.xid"]) == ("done", "failed")
    evidence = (await controller.order(OrderAction.COLLECT, "collect")).evidence
    assert "Xid" in evidence["kernel-log.txt"]
    assert (await controller.order(OrderAction.RESET_GPU, "reset", device=gpu.uuid)).outcome == "done"
    verified = await controller.order(OrderAction.RUN_CHECKS, "verify/2")
    assert {"ok"} == set(verified.evidence.values()), verified.because
    cleared = {body.key for body in await controller.bodies(FindingCleared)}
    assert {body.finding.key for body in await controller.bodies(FindingRaised)} == cleared


async def test_the_end_of_a_benchmark_is_told_before_its_order_s(site: Site, controller: Controller) -> None:
    await site.start()
    await controller.bodies(Status, is_healthy)
    wish = BenchWish("lease-1", Benchmark.GPU_BANDWIDTH, 1, 30.0, time.time() + 60.0, idle_by="")
    answer = await controller.order(OrderAction.BENCH, "bench/1", **to_parameters(wish))
    (ended,) = await controller.bodies(BenchEnded)
    because = "it is not known whether the node is idle: nobody says that it has no work"
    assert (ended.lease, ended.result.outcome, ended.result.because) == ("lease-1", Outcome.SKIP, because)
    assert (answer.outcome, answer.because) == ("done", f"gpu_bandwidth: skip: {because}")
    events = [type(body) for body in controller.events.values()]
    assert events.index(BenchEnded) < events.index(OrderEnded)


async def test_a_fault_survives_kill_9_and_a_reboot_that_the_machine_needs(site: Site, controller: Controller) -> None:
    await site.start()
    await controller.bodies(Status, is_healthy)
    first_boot = site.machine.boot_id()
    await controller.order(OrderAction.INJECT_FAULT, "drill", fault="gpu-off-bus", repair="succeeds")
    await controller.bodies(FindingRaised, lambda body: body.finding.code == "79")
    assert await site.end(signal.SIGKILL) == -signal.SIGKILL

    killed_at = time.time()
    await site.start()
    status = (await controller.bodies(Status, lambda body: body.agent_started_at > killed_at))[0]
    assert "79" in {finding.code for finding in status.findings}

    rebooting = await controller.order(OrderAction.REBOOT, "reboot")
    assert rebooting.outcome == "accepted"
    assert site.process is not None
    assert await asyncio.wait_for(site.process.wait(), 20.0) == EX_REBOOTING
    assert first_boot != site.machine.boot_id()

    await site.start()
    started = (await controller.bodies(AgentStarted, lambda body: body.rebooted))[-1]
    assert first_boot == started.previous_boot_id
    ended = await controller.bodies(OrderEnded, lambda body: body.order_id == "reboot", count=2)
    assert [body.outcome for body in ended] == ["accepted", "done"]
    await controller.bodies(FindingCleared, lambda body: body.key.code == "79")


async def test_what_is_not_stored_is_told_again_after_kill_9(site: Site, controller: Controller) -> None:
    controller.stores = False
    await site.start()
    await controller.bodies(Status, is_healthy)
    site.machine.log_xid(3, 79)
    (raised,) = await controller.bodies(FindingRaised, lambda body: body.finding.code == "79")
    await site.end(signal.SIGKILL)
    controller.stores = True
    await site.start()
    told = await controller.bodies(FindingRaised, lambda body: body == raised, count=2, repeats=True)
    assert [raised, raised] == told[:2]
    assert sum(body == raised for body in controller.events.values()) == 1


async def test_a_record_reaches_the_controller_without_being_polled_for(site: Site, controller: Controller) -> None:
    await site.start()
    await controller.bodies(Status, is_healthy)
    delays = []
    for gpu in range(8):
        began = time.perf_counter()
        site.machine.log_xid(gpu, 79)
        await controller.bodies(FindingRaised, count=gpu + 1)
        delays.append(time.perf_counter() - began)
    # One that came quicker than any source is polled was not found by polling, however busy the machine is.
    assert min(delays) < 0.5, delays


async def test_systemd_hears_ready_watchdog_and_stopping(site: Site, controller: Controller, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        heard: list[bytes] = []

        def listen() -> list[bytes]:
            with contextlib.suppress(BlockingIOError):
                heard.append(systemd.recv(100))
            return heard

        await site.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        await until(lambda: listen().count(b"WATCHDOG=1") >= 3)
        assert heard[0] == b"READY=1"
        await controller.bodies(Status, is_healthy)
        assert await site.end(signal.SIGINT) == 0
        await until(lambda: b"STOPPING=1" in listen())


async def test_a_reload_changes_whom_it_obeys_and_a_wrong_file_changes_nothing(
    site: Site, controller: Controller
) -> None:
    process = await site.start()
    await controller.bodies(Status, is_healthy)
    config = (site.directory / "agent.toml").read_text()
    other = config.replace('"run_checks", ', "")
    (site.directory / "agent.toml").write_text(other)
    process.send_signal(signal.SIGHUP)
    await until(lambda: "settings.reloaded" in site.log())
    (site.directory / "agent.toml").write_text("node = ")
    process.send_signal(signal.SIGHUP)
    await until(lambda: "settings.refused" in site.log())
    refused = await controller.order(OrderAction.RUN_CHECKS, "o1", checks="gpu.xid")
    assert (refused.outcome, "run_checks" in refused.because) == ("refused", True)
    last = (await controller.bodies(Status, lambda status: "run_checks" not in status.facts.orders_allowed))[-1]
    assert "collect" in last.facts.orders_allowed
    # Of a key that is trusted no more nothing is carried out, nor is it answered.
    (site.directory / "agent.toml").write_text(config.replace("trusted_keys.test", "trusted_keys.another"))
    process.send_signal(signal.SIGHUP)
    await until(lambda: site.log().count("settings.reloaded") == 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await controller.order(OrderAction.COLLECT, "o2")
    assert process.returncode is None


def test_a_wrong_configuration_ends_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text('node = "a b"\n')
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "agent.toml")])
    assert ended.value.code == EX_CONFIG
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_check_only_says_that_the_file_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[broker]\nurl = "mqtt://127.0.0.1"\n')
    main(["--config", str(path), "--check"])
    assert capsys.readouterr().out == f"{path}: valid\n"


def test_a_machine_that_is_not_there_is_a_wrong_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"""
        state_directory = "{tmp_path}/state"
        simulation_directory = "{tmp_path}/machine"
        [broker]
        url = "mqtt://127.0.0.1"
        """)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(path)])
    assert ended.value.code == EX_CONFIG
    assert f"{tmp_path}/machine/machine.json: No such file" in capsys.readouterr().err


async def test_what_is_approved_is_in_force_without_a_restart(site: Site, controller: Controller) -> None:
    await site.start()
    await controller.bodies(Status, is_healthy)
    watch = load_settings(site.config)
    found = await take_stock(watch, limit_s=20.0)
    wanted = replace(found, host=replace(found.host, processors=256))
    for manifest, verdict in ((wanted, "degraded"), (found, "ok")):
        put_in_force(watch.approved_inventory, render(manifest).encode())
        looked = await controller.order(OrderAction.RUN_CHECKS, f"verify/{verdict}", checks="host.inventory")
        assert looked.evidence["host.inventory"] == verdict, looked.because
    (raised,) = await controller.bodies(FindingRaised)
    (cleared,) = await controller.bodies(FindingCleared)
    assert (raised.finding.key, raised.finding.code) == (cleared.key, "processors")
