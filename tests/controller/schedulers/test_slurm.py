"""The Slurm adapter on a real slurmctld with four real slurmd."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_text import TextReader
from tests.support.slurm import SlurmCluster, needs_slurm, slurm_version
from tests.support.slurm_in_front import Programs

pytestmark = [needs_slurm, pytest.mark.slurm]

OUR_REASON = "fleetmend:inc-000007 GPU 3 has fallen off the bus (Xid 79)."
BY_HAND = "memory test by hand"


def programs_of(slurm: SlurmScheduler) -> SlurmPrograms:
    assert isinstance(slurm.access, SlurmPrograms)
    return slurm.access


def another(hold: Hold) -> Hold:
    return replace(hold, incident_id="inc-000008")


async def test_a_cordon_lets_the_running_job_go_on(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")

    said = await slurm.cordon("n2", hold)

    assert said == "n2 is draining in Slurm for inc-000007."
    assert cluster.node_state("n2") == "draining"
    assert cluster.node_reason("n2") == OUR_REASON
    assert cluster.job_state(job) == "RUNNING"


async def test_a_second_cordon_changes_nothing(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    await slurm.cordon("n1", hold)

    said = await slurm.cordon("n1", replace(hold, reason="another sentence"))

    assert said == "n1 is drained in Slurm for inc-000007 already."
    assert cluster.node_reason("n1") == OUR_REASON


@pytest.mark.parametrize("effect", ["cordon", "drain", "uncordon"])
async def test_a_node_drained_by_hand_is_not_touched(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold, effect: str
) -> None:
    job = cluster.submit(node="n3")
    cluster.wait_for_job(job, state="RUNNING")
    cluster.drain("n3", BY_HAND)
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "cordon": lambda: slurm.cordon("n3", hold),
        "drain": lambda: slurm.drain("n3", hold, jobs="cancel"),
        "uncordon": lambda: slurm.uncordon("n3", hold),
    }

    with pytest.raises(Refused, match=f"^n3 is held in Slurm by somebody else: {BY_HAND}$"):
        await acts[effect]()

    assert (cluster.node_state("n3"), cluster.node_reason("n3")) == ("draining", BY_HAND)
    assert cluster.job_state(job) == "RUNNING"


@pytest.mark.parametrize("state", ["DOWN", "FAIL"])
async def test_a_node_taken_out_by_another_state_is_not_touched_either(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold, state: str
) -> None:
    cluster.run("scontrol", "update", "NodeName=n3", f"State={state}", f"Reason={BY_HAND}")

    with pytest.raises(Refused, match=BY_HAND):
        await slurm.cordon("n3", hold)

    assert cluster.node_reason("n3") == BY_HAND


async def test_another_incident_of_ours_is_refused(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    await slurm.cordon("n1", another(hold))

    with pytest.raises(Refused, match=r"^n1 is held in Slurm for another incident of fleetmend: inc-000008$"):
        await slurm.cordon("n1", hold)
    with pytest.raises(Refused, match="inc-000008"):
        await slurm.uncordon("n1", hold)

    assert cluster.node_state("n1") == "drained"


async def test_uncordon_gives_back_what_is_ours(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    await slurm.cordon("n1", hold)

    said = await slurm.uncordon("n1", hold)

    assert said.startswith("n1 is given back to Slurm, which has it as IDLE")
    cluster.wait_for("n1", state="idle")
    assert cluster.node_reason("n1") == "none"


async def test_uncordon_of_a_node_that_nobody_holds_is_done_already(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    assert await slurm.uncordon("n1", hold) == "n1 is IDLE in Slurm: nobody holds it."
    assert cluster.node_state("n1") == "idle"


async def test_a_drain_by_hand_over_ours_is_theirs(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    await slurm.cordon("n1", hold)
    cluster.drain("n1", BY_HAND)

    seen = (await slurm.observe())["n1"]

    assert NodeSchedule(False, foreign_reason=BY_HAND, responding=True) == seen
    with pytest.raises(Refused, match=BY_HAND):
        await slurm.uncordon("n1", hold)


async def test_requeue_puts_the_job_back_into_the_queue(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)

    await until_empty(slurm, "n2", hold, jobs="requeue")

    cluster.wait_for("n2", state="drained")
    assert cluster.job_state(job) == "PENDING"


async def test_requeue_leaves_a_job_that_slurm_will_not_requeue(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    job = cluster.submit(node="n2", options=("--no-requeue",))
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)

    left = [await slurm.drain("n2", hold, jobs="requeue") for _ in range(2)]

    assert [(job,), (job,)] == left
    assert cluster.job_state(job) == "RUNNING"


async def test_wait_touches_no_job(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)

    assert (job,) == await slurm.drain("n2", hold, jobs="wait")
    assert cluster.job_state(job) == "RUNNING"


async def test_cancel_ends_the_tasks_on_this_node_and_no_other_of_their_array(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    array = cluster.submit(options=("--array=1-8", "--cpus-per-task=1"))
    cluster.wait_for("n1", "n2", "n3", "n4", state="allocated")
    before = {name: set(view.jobs) for name, view in (await slurm.observe()).items()}
    await slurm.cordon("n2", hold)

    await until_empty(slurm, "n2", hold, jobs="cancel")

    assert {f"{array}_{task}" for task in range(1, 9)} == set.union(*before.values())
    after = {name: set(view.jobs) for name, view in (await slurm.observe()).items()}
    assert {**before, "n2": set()} == after


async def test_no_job_is_moved_from_a_node_that_is_not_held(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")

    with pytest.raises(Refused, match="not held in Slurm for inc-000007"):
        await slurm.drain("n2", hold, jobs="cancel")

    assert cluster.job_state(job) == "RUNNING"


async def test_observe_sees_every_node(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    job = cluster.submit(options=("--nodes=2", "--nodelist=n1,n2"))
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)
    cluster.drain("n3", "by hand; State=IDLE, Reason=none [me] 100 %")

    assert {
        "n1": NodeSchedule(True, jobs=(job,), responding=True),
        "n2": NodeSchedule(False, held_by="inc-000007", jobs=(job,), responding=True),
        "n3": NodeSchedule(False, foreign_reason="by hand; State=IDLE, Reason=none [me] 100 %", responding=True),
        "n4": NodeSchedule(True, responding=True),
    } == await slurm.observe()


@pytest.mark.parametrize(
    "sentence",
    [
        'It says "dead" \\ $HOME `id` | [root@2026-11-21T08:00:00] State=IDLE NodeName=n4',
        "two\nlines\tand\0a NUL, and half a character \udce9",
        "Über 90 °C, ×2",
        "long " * 100,
    ],
)
async def test_whatever_the_reason_holds_the_hold_is_read_back(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold, sentence: str
) -> None:
    await slurm.cordon("n1", replace(hold, reason=sentence))

    assert (await slurm.observe())["n1"].held_by == "inc-000007"
    assert cluster.node_state("n4") == "idle"


@pytest.mark.parametrize("node", ["ALL", "all", "n[1-4]", "n1,n2", "-n1", "", "n1 State=DOWN", "n1\n", "../n1", "n9"])
async def test_only_the_name_of_one_known_node_is_acted_on(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold, node: str
) -> None:
    for act in (slurm.cordon(node, hold), slurm.uncordon(node, hold), slurm.drain(node, hold, jobs="cancel")):
        with pytest.raises(Permanent):
            await act

    assert [cluster.node_state(name) for name in cluster.node_names] == ["idle"] * 4


async def test_an_unknown_way_with_jobs_is_named(slurm: SlurmScheduler, hold: Hold) -> None:
    with pytest.raises(Permanent, match="jobs is 'kill', it must be one of wait, requeue, cancel"):
        await slurm.drain("n1", hold, jobs="kill")


@pytest.fixture
def without_controller(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    cluster.kill_controller()
    yield cluster
    cluster.start_controller()
    # Killed, it begins from what it last saved, in which an earlier test may still hold a node.
    cluster.clean()


async def test_a_dead_slurmctld_is_worth_another_try_and_not_waited_for_beyond_the_deadline(
    without_controller: SlurmCluster, hold: Hold, tmp_path: Path
) -> None:
    cluster = without_controller
    shutil.copytree(cluster.conf.parent, tmp_path / "etc")
    # Slurm's programs give up a second before this; after nine by themselves.
    impatient = tmp_path / "etc" / "slurm.conf"
    impatient.write_text(f"{cluster.conf.read_text()}MessageTimeout=2\n")
    with pytest.raises(Retryable, match="Unable to contact slurm controller"):
        environment = {**cluster.env(), "SLURM_CONF": str(impatient)}
        await SlurmScheduler(SlurmPrograms(20.0, environment)).cordon("n1", hold)

    began = time.monotonic()
    with pytest.raises(Retryable, match=r"scontrol .* was not done after 0.5 s and was killed"):
        await SlurmScheduler(SlurmPrograms(0.5, cluster.env())).cordon("n1", hold)
    assert time.monotonic() - began < 3.0


async def test_slurm_that_is_not_installed_is_said_at_once(hold: Hold) -> None:
    slurm = SlurmScheduler(SlurmPrograms(environment={"PATH": "/nowhere"}))

    with pytest.raises(Permanent, match="scontrol cannot be run: No such file or directory"):
        await slurm.cordon("n1", hold)


async def until_empty(slurm: SlurmScheduler, node: str, hold: Hold, *, jobs: str) -> None:
    """Ask again until no job is left, as the engine does."""
    end = time.monotonic() + 30
    while await slurm.drain(node, hold, jobs=jobs):
        assert time.monotonic() < end


async def test_a_drain_by_hand_right_after_ours_wins(cluster: SlurmCluster, programs: Programs, hold: Hold) -> None:
    by_hand = f'"$REAL" update NodeName=n1 State=DRAIN Reason="{BY_HAND}"'
    programs.put("scontrol", f'"$REAL" "$@" || exit\n[ "$1" = update ] && {by_hand}\nexit 0')

    with pytest.raises(Refused, match=f"n1 is held in Slurm by somebody else: {BY_HAND}"):
        await programs.slurm().cordon("n1", hold)

    assert cluster.node_reason("n1") == BY_HAND


async def test_an_answer_that_did_nothing_is_an_error(cluster: SlurmCluster, programs: Programs, hold: Hold) -> None:
    programs.put("scontrol", '[ "$1" = update ] || exec "$REAL" "$@"')
    slurm = programs.slurm()

    with pytest.raises(Retryable, match="Slurm accepted the drain of n1, which is IDLE all the same"):
        await slurm.cordon("n1", hold)

    cluster.drain("n1", OUR_REASON)
    with pytest.raises(Retryable, match=r"Slurm accepted the resume of n1, which is IDLE\+DRAIN all the same"):
        await slurm.uncordon("n1", hold)


async def test_the_whole_cluster_is_observed_by_three_processes(
    cluster: SlurmCluster, programs: Programs, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    for name in ("scontrol", "squeue", "sinfo"):
        programs.put(name, f'echo {name} >>{ran}\nexec "$REAL" "$@"')

    slurm = programs.slurm()
    await slurm.observe()
    ran.unlink()

    seen = await slurm.observe()

    assert sorted(seen) == cluster.node_names
    assert sorted(ran.read_text().split()) == ["scontrol", "scontrol", "squeue"]


async def test_json_is_read_where_this_release_has_it_and_text_elsewhere(slurm: SlurmScheduler) -> None:
    await slurm.observe()

    assert programs_of(slurm).reader == (JsonReader() if slurm_version() >= (24, 11) else TextReader())


async def test_both_forms_give_the_same(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    array = cluster.submit(options=("--array=1-2", "--cpus-per-task=1", "--nodelist=n1"))
    cluster.wait_for_job(f"{array}_1", state="RUNNING")
    await slurm.cordon("n2", hold)
    cluster.drain("n3", BY_HAND)
    by_text = SlurmScheduler(SlurmPrograms(environment=cluster.env(), reader=TextReader()))

    assert await slurm.observe() == await by_text.observe()


async def test_a_filter_that_slurm_ignored_moves_no_job_of_another_node(
    cluster: SlurmCluster, programs: Programs, hold: Hold
) -> None:
    job = cluster.submit(node="n1")
    cluster.wait_for_job(job, state="RUNNING")
    await programs.slurm().cordon("n2", hold)
    programs.put("squeue", 'exec "$REAL" -h -a -t RUNNING -o "%i|%T|%N|%P|%a|%q|%S|%e"')
    slurm = SlurmScheduler(replace(programs.found_first(), reader=TextReader()))

    assert await slurm.drain("n2", hold, jobs="cancel") == ()
    assert cluster.job_state(job) == "RUNNING"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('echo "scontrol: unrecognized option" >&2; exit 1', TextReader()),
        ("kill -SEGV $$", TextReader()),
        ("exit 0", TextReader()),
        ("echo data_parser/v0.0.42", JsonReader()),
    ],
    ids=["has no JSON", "plugin missing", "says nothing", "names a parser"],
)
async def test_the_form_is_what_scontrol_offers(programs: Programs, answer: str, expected: object) -> None:
    programs.put("scontrol", f'[ "$1" = --json=list ] || exec "$REAL" "$@"\n{answer}')
    slurm = programs.slurm()

    with contextlib.suppress(Permanent):
        await slurm.observe()

    assert programs_of(slurm).reader == expected


async def test_a_form_is_not_chosen_while_slurm_is_away(programs: Programs) -> None:
    programs.put("scontrol", 'echo "scontrol: error: If munged is up, restart with --num-threads=10" >&2; exit 1')
    slurm = programs.slurm()

    with pytest.raises(Retryable, match="If munged is up"):
        await slurm.observe()

    assert programs_of(slurm).reader is None


async def test_our_hold_outlives_a_reboot(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    await slurm.cordon("n4", hold)
    cluster.come_back("n4")

    assert (await slurm.observe())["n4"] == NodeSchedule(False, held_by="inc-000007", responding=True)

    await slurm.uncordon("n4", hold)
    assert (await slurm.observe())["n4"].held_by == ""


async def test_a_node_that_slurm_set_down_after_a_reboot_is_not_ours_to_take(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    cluster.come_back("n4")

    with pytest.raises(Refused, match=r"Node unexpectedly rebooted|DOWN, without a reason"):
        await slurm.cordon("n4", hold)
