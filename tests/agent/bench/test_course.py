"""A benchmark from its order to its result, with real processes: what it comes back with, and that nothing is left."""

from __future__ import annotations

import fcntl
import os
from typing import Any

import psutil
import pytest

from agent.bench.lock import FILE
from agent.benches import MODES, UNDER_WAY
from agent.machine import ActionRefused
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark
from tests.support.bench_site import LEASE, BenchSite, fast_clock, is_alive
from tests.support.eventually import eventually
from tests.support.nvml_double import GPU_UUIDS
from wire.bench import to_parameters, to_stop
from wire.messages import BenchEnded, BenchRendezvous, OrderEnded
from wire.orders import OrderAction

FIRST, SECOND = GPU_UUIDS


@pytest.fixture(autouse=True)
def leaves_nothing(site: BenchSite) -> Any:
    """See after each test that no process, lock, record or changed setting is left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    after = {child.pid for child in psutil.Process().children(recursive=True) if is_alive(child.pid)}
    assert after <= before
    assert (site.journal.load(UNDER_WAY), site.journal.load(MODES)) == ({}, {})
    if (site.root / FILE).exists():
        with (site.root / FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_an_order_becomes_a_result_and_then_ends(site: BenchSite) -> None:
    result = await site.run()
    assert (result.outcome, result.because) == (Outcome.PASS, "measured"), result
    assert [number.value for number in result.numbers] == [3000.0]
    ended, answered = site.journal.events
    assert isinstance(ended, BenchEnded)
    assert isinstance(answered, OrderEnded)
    assert (ended.lease, answered.outcome) == (LEASE, "done")
    assert answered.because == "gpu_bandwidth: pass: measured"
    assert ended.observed_at - ended.started_at >= 0.5


@pytest.mark.parametrize(
    ("manner", "outcome", "because"),
    [
        ("breaks", Outcome.ERROR, "libnccl is not here"),
        ("lacks", Outcome.SKIP, "there is no RDMA device"),
        (
            "dies",
            Outcome.ERROR,
            "its process ended without a result: libnccl.so.2: cannot open shared object file",
        ),
        (
            "babbles",
            Outcome.ERROR,
            "its process said what is no line of a benchmark: b'Initialising NCCL ...': "
            "JSON is malformed: invalid character (byte 0)",
        ),
        ("lies", Outcome.ERROR, "its process gave a result of storage"),
        ("strays", Outcome.PASS, "measured"),
    ],
)
async def test_however_its_process_ends_it_becomes_a_result(
    site: BenchSite, manner: str, outcome: Outcome, because: str
) -> None:
    site.manner = manner
    result = await site.run()
    assert (outcome, because) == (result.outcome, result.because)
    assert site.answers == [("o1", "done")]


async def test_what_left_its_session_is_ended_too(site: BenchSite) -> None:
    site.manner = "strays"
    await site.run()
    _, _, stray = (int(pid) for pid in site.written.read_text().split())
    await eventually("the stray is gone", lambda: not is_alive(stray))


@pytest.mark.parametrize(
    ("lines", "because"),
    [
        (("gpu 1 graphics 4194303:4096",), f"process 4194303 is on {SECOND}"),
        (("gpu 0 mps 4194303:4096",), f"process 4194303 is on {FIRST}"),
        (
            ("gpu 0 fail nvmlDeviceGetUtilizationRates 3",),
            f"it is not known whether the GPUs are idle: utilization percent of {FIRST}: Not Supported (3)",
        ),
        (
            ("gpu 0 fail nvmlDeviceGetComputeRunningProcesses_v3 4",),
            f"it is not known whether the GPUs are idle: processes of {FIRST}: Insufficient Permissions (4)",
        ),
        (
            ("count 0",),
            "it is not known whether the GPUs are idle: NVML tells of no GPU, and of other work nobody tells",
        ),
        (("init 9",), "it is not known how the GPUs are: NVML does not answer: Driver Not Loaded (9)"),
        (("gpu 1 return 15",), "it is not known how the GPUs are: NVML does not answer: GPU is lost (15)"),
    ],
)
async def test_a_node_that_is_not_proven_idle_runs_nothing(
    site: BenchSite, lines: tuple[str, ...], because: str
) -> None:
    site.library.say(*lines)
    result = await site.run()
    assert (Outcome.SKIP, because) == (result.outcome, result.because)
    assert (result.faults, site.written.exists()) == ((), False)


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("gpu 1 memory 2147483648", f"the node is not idle: 2048 MiB of the memory of {SECOND} are in use"),
        ("gpu 0 utilization 3 0", f"the node is not idle: {FIRST} is 3 % busy"),
    ],
)
async def test_what_nobody_is_seen_to_use_is_waited_for_in_vain(site: BenchSite, line: str, because: str) -> None:
    site.library.say(line)
    hasty = BenchSite(site.root, site.library, clock=fast_clock())
    result = await hasty.run()
    assert (result.outcome, result.because) == (Outcome.SKIP, because)


async def test_a_job_is_called_by_its_name(site: BenchSite) -> None:
    site.library.say(f"gpu 0 processes {os.getpid()}:1073741824")
    assert (await site.run()).because == f"process {os.getpid()} ({psutil.Process().name()}) is on {FIRST}"


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"idle_by": ""}, "it is not known whether the node is idle: nobody says that it has no work"),
        ({"lease": ""}, "the controller gave no lease"),
        ({"limit_s": 0.0}, "it may take 0 s, which is no time"),
        ({"lease_ends_at": 0.0}, f"the lease {LEASE} is over"),
    ],
)
async def test_without_terms_nothing_is_run(site: BenchSite, changes: dict[str, Any], because: str) -> None:
    result = await site.run(**changes)
    assert (Outcome.SKIP, because) == (result.outcome, result.because)


async def test_an_agent_that_does_not_see_the_host_s_processes_cannot_tell_whose_they_are(site: BenchSite) -> None:
    site.sees_processes = False
    result = await site.run()
    assert result.outcome is Outcome.SKIP
    assert "the agent does not see the processes of the host" in result.because


async def test_a_lock_that_somebody_holds_keeps_it_out(site: BenchSite) -> None:
    with (site.root / FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        result = await site.run()
    expected = f"another benchmark runs on this host, or cannot be ended: it holds {site.root / FILE}"
    assert (Outcome.SKIP, expected) == (result.outcome, result.because)


async def test_a_lock_is_no_link(site: BenchSite) -> None:
    (site.root / FILE).symlink_to(site.root / "elsewhere")
    result = await site.run()
    (site.root / FILE).unlink()
    assert result.outcome is Outcome.SKIP
    assert result.because.startswith(f"{site.root / FILE} cannot be opened")


async def test_how_far_it_is_is_told_once_a_second_and_kept_by_nobody(site: BenchSite) -> None:
    await site.run()
    assert [progress.text for progress in site.said] == ["part 0"]
    assert {type(event) for event in site.journal.events} == {BenchEnded, OrderEnded}


async def test_rank_0_says_where_to_meet(site: BenchSite) -> None:
    site.manner = "meets"
    await site.run()
    rendezvous = site.journal.events[0]
    assert isinstance(rendezvous, BenchRendezvous)
    assert (rendezvous.lease, rendezvous.unique_id) == (LEASE, "c0ffee")


@pytest.mark.parametrize("manner", ["stays", "stubborn"])
async def test_a_job_s_arrival_ends_it(site: BenchSite, manner: str) -> None:
    site.manner = manner
    processes = await site.begin()
    site.library.say(f"gpu 0 processes {processes[1]}:0", "gpu 0 utilization 99 50", "gpu 0 memory 80000000000")
    await site.clock.sleep(1.0)
    assert all(map(is_alive, processes))
    site.library.say(f"gpu 0 processes {processes[1]}:0", f"gpu 1 processes {os.getpid()}:0")
    await site.orders.idle()
    (result,) = site.results
    assert result.outcome is Outcome.SKIP
    assert result.because.endswith(f"is on {SECOND}")
    assert not any(map(is_alive, processes))


async def test_a_process_that_is_no_more_is_somebody_s_at_the_second_look(site: BenchSite) -> None:
    site.manner = "stays"
    await site.begin()
    site.library.say("gpu 1 processes 4194303:0")
    await site.orders.idle()
    assert site.results[0].because == f"process 4194303 is on {SECOND}"


async def test_it_ends_in_time(site: BenchSite) -> None:
    site.manner = "stays"
    result = await site.run(limit_s=1.0)
    assert (result.outcome, result.because) == (Outcome.ERROR, "it did not end within 1 s")


async def test_it_ends_with_its_lease(site: BenchSite) -> None:
    site.manner = "stays"
    processes = await site.begin(lease_ends_at=site.clock.wall() + 8.0)
    await site.orders.idle()
    assert [(Outcome.ERROR, f"the lease {LEASE} is over")] == [(each.outcome, each.because) for each in site.results]
    assert not any(map(is_alive, processes))


async def test_a_driver_that_falls_silent_ends_it(site: BenchSite) -> None:
    site.manner = "stays"
    processes = await site.begin()
    site.library.say("hang nvmlDeviceGetMemoryInfo_v2")
    await site.orders.idle()
    assert site.results[0].because.startswith("it is not known whether the GPUs are idle: NVML cannot be asked")
    assert not any(map(is_alive, processes))


async def test_its_lease_is_taken_back(site: BenchSite) -> None:
    site.manner = "stays"
    processes = await site.begin()
    await site.give(to_stop("another"), "o2")
    await site.give(to_stop(LEASE), "o3")
    await site.orders.idle()
    assert not any(map(is_alive, processes))
    assert [result.because for result in site.results] == ["its lease was taken back"]
    assert {("o1", "done"), ("o2", "done"), ("o3", "done")} == set(site.answers)


async def test_a_lease_that_was_taken_back_begins_nothing(site: BenchSite) -> None:
    await site.give(to_stop(LEASE), "o0")
    await site.orders.idle()
    result = await site.run()
    assert (result.outcome, result.because) == (Outcome.SKIP, f"the lease {LEASE} was taken back before it began")


async def test_one_runs_at_a_time(site: BenchSite) -> None:
    site.manner = "stays"
    await site.begin()
    await site.give(to_parameters(site.wish(lease="lease-2")), "o2")
    await eventually("the second is answered", lambda: ("o2", "done") in site.answers)
    assert site.results[0].because == f"a benchmark runs here already, under the lease {LEASE}"
    assert site.journal.load(UNDER_WAY)["lease"] == LEASE
    await site.orders.close()


@pytest.mark.parametrize("action", [OrderAction.RUN_CHECKS, OrderAction.HOLD, OrderAction.REACH, OrderAction.RELEASE])
async def test_orders_that_look_or_hold_go_on_beside_it(site: BenchSite, action: OrderAction) -> None:
    site.manner = "stays"
    processes = await site.begin()
    await site.give({}, "o2", action)
    await eventually("the other order is answered", lambda: "o2" in dict(site.answers))
    assert all(map(is_alive, processes))
    await site.orders.close()


@pytest.mark.parametrize("action", [OrderAction.RESET_GPU, OrderAction.RELOAD_DRIVER, OrderAction.RESTART_SERVICE])
async def test_a_repair_ends_it_first_and_nothing_is_run_meanwhile(site: BenchSite, action: OrderAction) -> None:
    site.manner = "stays"
    processes = await site.begin()
    site.machine.gate.clear()
    await site.give({"service": "slurmd"}, "o2", action)
    await eventually("the repair is under way", lambda: len(site.machine.did) > 1)
    assert not any(map(is_alive, processes))
    assert site.results[0].because == f"{action} was ordered"
    await site.give(to_parameters(site.wish(lease="lease-2")), "o3")
    await eventually("the next is answered", lambda: ("o3", "done") in site.answers)
    assert site.results[1].because == f"nothing is run now: {action} was ordered"
    site.machine.gate.set()
    await site.orders.idle()


async def test_a_repair_that_is_refused_ends_nothing(site: BenchSite) -> None:
    site = replace_allowed(site, {OrderAction.BENCH})
    site.manner = "stays"
    processes = await site.begin()
    await site.give({}, "o2", OrderAction.REBOOT)
    await eventually("the reboot is refused", lambda: ("o2", "refused") in site.answers)
    assert all(map(is_alive, processes))
    await site.orders.close()


async def test_on_the_way_to_a_reboot_nothing_is_begun_and_after_one_that_is_refused_it_is(site: BenchSite) -> None:
    site.machine.failure = ActionRefused("a reboot is under way already")
    await site.give({}, "o0", OrderAction.REBOOT)
    await site.orders.idle()
    site.machine.failure = None
    assert (await site.run()).outcome is Outcome.PASS
    await site.give({}, "o2", OrderAction.REBOOT)
    await site.orders.idle()
    await site.give(to_parameters(site.wish(lease="lease-2")), "o3")
    await site.orders.idle()
    assert site.results[-1].because == "nothing is run now: the agent stops"


async def test_a_node_that_runs_none_refuses(site: BenchSite) -> None:
    site = replace_allowed(site, {OrderAction.RUN_CHECKS})
    await site.give(to_parameters(site.wish()))
    await site.orders.idle()
    assert (site.answers, site.results) == ([("o1", "refused")], [])


async def test_a_wish_that_cannot_be_read_is_refused(site: BenchSite) -> None:
    await site.give({"wish": '{"lease": 3}'})
    await site.orders.idle()
    (answer,) = (event for event in site.journal.events if isinstance(event, OrderEnded))
    assert answer.outcome == "refused"
    assert answer.because.startswith("wish of a benchmark: Expected `str`, got `int` - at `$.lease`")


async def test_an_agent_that_stops_ends_it_and_says_so(site: BenchSite) -> None:
    site.manner = "stubborn"
    processes = await site.begin()
    await site.orders.close()
    assert not any(map(is_alive, processes))
    assert (site.results[0].because, site.answers) == ("the agent stops", [("o1", "done")])


async def test_settings_that_it_changed_are_set_back(site: BenchSite) -> None:
    site.manner = "changes"
    result = await site.run()
    assert result.outcome is Outcome.PASS
    state = site.library.state.read_text().splitlines()
    assert state[-2:] == ["gpu 0 clocks 345 2619 1980 2619 1980 2619", "gpu 0 clocks 345 2619 1980 2619 1980 2619"]
    assert [line for line in state if line.startswith("gpu 0 persistence")][-1] == "gpu 0 persistence 1"


async def test_settings_that_cannot_be_set_back_are_an_error_and_stay_owed(site: BenchSite) -> None:
    site.manner = "changes"
    site.library.say("fail nvmlDeviceSetPersistenceMode 4")
    result = await site.run()
    assert (result.outcome, result.because) == (Outcome.ERROR, f"persistence 1 of {FIRST} could not be set back")
    assert [number.value for number in result.numbers] == [3000.0]
    assert site.journal.load(MODES)["modes"][FIRST]["persistence"] == 1
    with site.library.state.open("a") as state:
        state.write("fail nvmlDeviceSetPersistenceMode 0\n")
    again = BenchSite(site.root, site.library, journal=site.journal, machine=site.machine)
    await again.orders.recover()
    assert [line for line in site.library.state.read_text().splitlines() if "0 persistence" in line][-1][-1] == "1"


async def test_what_counted_meanwhile_is_evidence(site: BenchSite) -> None:
    site.manner = "counts"
    result = await site.run()
    (fault,) = result.faults
    because = f"ecc_uncorrected_volatile of {FIRST} grew from 0 to 1 while it ran"
    assert (Outcome.FAIL, because, FIRST, "counter") == (result.outcome, result.because, fault.device, fault.code)


async def test_a_run_that_the_agent_did_not_survive_is_told_by_the_next(site: BenchSite) -> None:
    site.journal.save(UNDER_WAY, {"lease": LEASE, "benchmark": "storage", "started_at": 5.0})
    await site.orders.recover()
    (event,) = site.journal.events
    assert isinstance(event, BenchEnded)
    assert (event.lease, event.result.benchmark, event.started_at) == (LEASE, Benchmark.STORAGE, 5.0)
    assert (event.result.outcome, event.result.because) == (Outcome.ERROR, "the agent ended while it ran")


@pytest.mark.parametrize("key", [UNDER_WAY, MODES])
async def test_a_damaged_record_keeps_no_agent_from_starting(site: BenchSite, key: str) -> None:
    site.journal.save(key, {"lease": 3, "boot_id": 5})
    assert (await site.run()).outcome is Outcome.PASS


async def test_settings_of_another_boot_are_not_set_back(site: BenchSite) -> None:
    site.journal.save(MODES, {"boot_id": "before", "modes": {FIRST: {"persistence": 0}}})
    await site.orders.recover()
    assert "gpu 0 persistence 0" not in site.library.state.read_text()


def replace_allowed(site: BenchSite, allowed: set[OrderAction]) -> BenchSite:
    """Return the node with another allow-list."""
    return BenchSite(site.root, site.library, allowed=frozenset(allowed))
