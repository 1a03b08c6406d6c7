"""What Slurm prints, read without a Slurm. The lines are as 22.05.8 printed them, unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters import NodeSchedule
from controller.schedulers import slurm_view
from controller.schedulers.slurm_failures import HalfWritten
from controller.schedulers.slurm_text import TextReader
from controller.schedulers.slurm_view import SlurmJob, SlurmNode, SlurmReservation

READER = TextReader()

LINE = (
    "NodeName=n1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=2 CPUTot=2 CPULoad=0.06 AvailableFeatures=(null) "
    "ActiveFeatures=(null) Gres=gpu:8 NodeAddr=127.0.0.1 NodeHostName=vm Port=56963 Version=22.05.8 "
    "OS=Linux 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)  RealMemory=1000 AllocMem=0 "
    "FreeMem=23693 Sockets=2 Boards=1 State={state} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A "
    "Partitions=gpu  BootTime=2026-11-21T07:44:44 SlurmdStartTime=2026-11-21T08:45:52 AveWatts=0 "
    "ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s{rest}"
)


def node_of(state: str, rest: str = "") -> SlurmNode:
    (node,) = READER.parse_nodes(LINE.format(state=state, rest=rest) + "\n")
    return node


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("", ""),
        (" Reason=bad DIMM [root@2026-11-21T08:45:53]", "bad DIMM"),
        (" Reason=bad DIMM", "bad DIMM"),
        (" Reason=a [b] c=d State=IDLE [root@2026-11-21T08:45:53] Comment=x", "a [b] c=d State=IDLE"),
        (
            " Reason=line one [root@2026-11-21T08:45:53]        NodeName=n9 State=IDLE two "
            "Comment=c Reason=evil [x@2026-01-01T00:00:00] Extra=State=FOO",
            "line one",
        ),
    ],
)
def test_the_reason_is_read_without_who_and_when(rest: str, reason: str) -> None:
    assert node_of("IDLE+DRAIN", rest) == SlurmNode("n1", "IDLE", frozenset({"DRAIN"}), reason)


OURS = " Reason=fleetmend:inc-000007 GPU lost [root@2026-11-21T08:45:53]"
THEIRS = " Reason=bad DIMM [root@2026-11-21T08:45:53]"
SILENT_AFTER_OURS = " Reason=fleetmend:inc-000007 GPU lost : Not responding [root@2026-11-27T08:25:26]"
SILENT = " Reason=Not responding [slurm@2026-11-21T08:49:17]"


@pytest.mark.parametrize(
    ("state", "rest", "expected"),
    [
        ("IDLE", "", NodeSchedule(True, responding=True)),
        ("ALLOCATED", "", NodeSchedule(True, responding=True)),
        ("MIXED+PLANNED", "", NodeSchedule(True, responding=True)),
        ("IDLE+NOT_RESPONDING", "", NodeSchedule(False, responding=False)),
        ("IDLE*", "", NodeSchedule(False, responding=False)),
        ("IDLE+MAINTENANCE+RESERVED", "", NodeSchedule(False, responding=True)),
        ("IDLE+DRAIN", OURS, NodeSchedule(False, held_by="inc-000007", responding=True)),
        ("MIXED+DRAIN", THEIRS, NodeSchedule(False, foreign_reason="bad DIMM", responding=True)),
        ("IDLE+DRAIN", "", NodeSchedule(False, foreign_reason="IDLE+DRAIN, without a reason", responding=True)),
        ("IDLE+FAIL", THEIRS, NodeSchedule(False, foreign_reason="bad DIMM", responding=True)),
        ("DOWN+DRAIN+NOT_RESPONDING", OURS, NodeSchedule(False, held_by="inc-000007", responding=False)),
        ("DOWN+NOT_RESPONDING", SILENT, NodeSchedule(False, responding=False)),
        ("DOWN*", SILENT, NodeSchedule(False, responding=False)),
        ("DOWN", THEIRS, NodeSchedule(False, foreign_reason="bad DIMM", responding=True)),
        ("DOWN", OURS, NodeSchedule(False, foreign_reason="fleetmend:inc-000007 GPU lost", responding=True)),
        ("DOWN+NOT_RESPONDING", SILENT_AFTER_OURS, NodeSchedule(False, responding=False)),
        ("DOWN+DRAIN", SILENT_AFTER_OURS, NodeSchedule(False, held_by="inc-000007", responding=True)),
        ("IDLE", OURS, NodeSchedule(True, responding=True)),
        (
            "IDLE+DRAIN",
            " Reason=fleetmender:x [a@2026-11-21]",
            NodeSchedule(False, foreign_reason="fleetmender:x", responding=True),
        ),
    ],
)
def test_a_state_and_a_reason_say_who_holds_the_node(state: str, rest: str, expected: NodeSchedule) -> None:
    assert slurm_view.schedules([node_of(state, rest)], {}, {}) == {"n1": expected}


def test_jobs_that_hold_no_node_are_left_out() -> None:
    found = (
        "4|PENDING|",
        "1|COMPLETING|n1",
        "9|COMPLETED|n1",
        "2|RUNNING|n[2-3]",
        "3_1|RUNNING|n4",
        "10+1|SUSPENDED|n4",
    )

    jobs = READER.parse_jobs("".join(f"{line}|gpu|(null)|normal|1795813470|1795815270\n" for line in found))

    assert [job.id for job in jobs] == ["1", "2", "3_1", "10+1"]
    assert slurm_view.jobs_by_node(jobs) == {"n1": ("1",), "n2": ("2",), "n3": ("2",), "n4": ("3_1", "10+1")}


def test_jobs_are_in_the_order_of_their_numbers() -> None:
    jobs = [SlurmJob(job, "RUNNING", "n1") for job in ("100", "20_10", "20_9", "3")]
    assert slurm_view.jobs_by_node(jobs) == {"n1": ("3", "20_9", "20_10", "100")}


@pytest.mark.parametrize("printed", ["", "\n"])
def test_nothing_printed_is_no_node(printed: str) -> None:
    assert READER.parse_nodes(printed) == []


def test_an_empty_queue_is_no_job() -> None:
    assert READER.parse_jobs("") == []


def test_what_is_not_understood_is_named_with_its_line() -> None:
    good = LINE.format(state="IDLE", rest="")
    with pytest.raises(ValueError, match=r"line 2 of scontrol is not .*: 'No nodes in the system'"):
        READER.parse_nodes(f"{good}\nNo nodes in the system\n")
    with pytest.raises(ValueError, match=r"line 1 of squeue is not 'job\|state\|nodes\|.*': 'slurm_load_jobs error'"):
        READER.parse_jobs("slurm_load_jobs error\n")
    with pytest.raises(ValueError, match=r"line 1 of scontrol is not 'ReservationName=.*': 'slurm_load_res error'"):
        READER.parse_reservations("slurm_load_res error\n")


@pytest.mark.parametrize("read", [READER.parse_nodes, READER.parse_jobs, READER.parse_reservations])
def test_an_answer_that_ends_in_the_middle_of_a_line_is_no_shorter_answer(read: Callable[[str], object]) -> None:
    with pytest.raises(HalfWritten, match="ends in the middle of a line"):
        read("NodeName=n1 Arch=x86_64 State=IDLE")


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [
        ("1795813470", "1795815270", 1795815270.0),
        ("1795813470", "1827349470", 0.0),
        ("1795813470", "NONE", 0.0),
        ("N/A", "N/A", 0.0),
        ("1795813470", "9" * 40, 0.0),
    ],
    ids=["limited", "unlimited: a year", "unlimited: NONE", "not begun", "beyond all time"],
)
def test_a_job_ends_by_its_time_limit_if_it_has_one(starts: str, ends: str, expected: float) -> None:
    (job,) = READER.parse_jobs(f"7|RUNNING|n1|gpu|physics|(null)|{starts}|{ends}\n")

    assert (job.partition, job.account, job.qos, job.ends_at) == ("gpu", "physics", "", expected)


MAINT = SlurmReservation("firmware", 100.0, 700.0, "n[1-2]", frozenset({"MAINT", "IGNORE_JOBS", "SPEC_NODES"}))
RESERVATION = (
    "ReservationName=firmware StartTime=100 EndTime=700 Duration=00:10:00 Nodes=n[1-2] NodeCnt=2 CoreCnt=4 "
    "Features=(null) PartitionName=(null) Flags=MAINT,IGNORE_JOBS,SPEC_NODES TRES=cpu=4 Users=root Groups=(null)"
)


def test_reservations_are_read() -> None:
    licenses = RESERVATION.replace("Nodes=n[1-2]", "Nodes=(null)")

    assert READER.parse_reservations(f"{RESERVATION}\n{licenses}\n") == [MAINT]
    assert READER.parse_reservations("No reservations in the system\n") == []


@pytest.mark.parametrize(("now", "expected"), [(99.0, set()), (100.0, {"n1", "n2"}), (700.0, set())])
def test_people_work_at_a_node_from_the_beginning_to_the_end_of_its_maintenance(now: float, expected: set[str]) -> None:
    for_a_run = replace(MAINT, name="big-run", nodes="n3", flags=frozenset({"SPEC_NODES"}))

    assert set(slurm_view.maintained([MAINT, for_a_run], now)) == expected


def test_a_node_in_maintenance_is_somebody_elses_also_while_it_is_ours() -> None:
    nodes = [node_of("IDLE", ""), replace(node_of("IDLE+DRAIN", OURS), name="n2")]

    seen = slurm_view.schedules(nodes, {}, {"n1": MAINT, "n2": MAINT})

    words = "maintenance reservation firmware (1970-01-01 00:01 UTC to 1970-01-01 00:11 UTC)"
    assert seen == {
        "n1": NodeSchedule(False, foreign_reason=words, responding=True),
        "n2": NodeSchedule(False, held_by="inc-000007", foreign_reason=words, responding=True),
    }


def test_what_is_down_because_our_reboot_took_too_long_is_still_ours() -> None:
    late = " Reason=fleetmend:inc-000007 why (inc-000007/reboot/1) : reboot issued : reboot timed out [root@1795813470]"

    assert node_of("DOWN", late).held_by == "inc-000007"
    assert node_of("IDLE", late).held_by == ""


@given(st.text(), st.integers(1, 10**9))
def test_the_key_of_an_effect_is_found_in_its_reason_and_no_other_key_is(sentence: str, attempt: int) -> None:
    key = f"inc-000007/reboot/{attempt}"
    reason = slurm_view.reason_text("inc-000007", sentence, mark=key)

    assert len(reason) <= slurm_view.MAX_REASON_CHARACTERS
    assert slurm_view.carries(f"{reason} : reboot issued", key)
    assert not slurm_view.carries(reason, f"inc-000007/reboot/{attempt + 1}")


@given(st.text())
def test_any_sentence_becomes_one_line_from_which_the_incident_is_read(sentence: str) -> None:
    reason = slurm_view.reason_text("inc-000007", sentence)
    node = node_of("IDLE+DRAIN", f" Reason={reason} [root@2026-11-21T08:45:53]")

    assert len(reason) <= slurm_view.MAX_REASON_CHARACTERS
    assert node.held_by == "inc-000007"
    assert node.reason == reason


@pytest.mark.parametrize("incident", ["", "inc 7", "inc-7\n", "[inc]", "a" * 65])
def test_an_incident_that_could_not_be_read_back_is_refused(incident: str) -> None:
    with pytest.raises(ValueError, match="incident id"):
        slurm_view.reason_text(incident, "why")


@given(st.text())
def test_no_text_at_all_breaks_the_readers(text: str) -> None:
    for read in (READER.parse_nodes, READER.parse_jobs, READER.parse_reservations):
        try:
            read(text)
        except ValueError as error:
            assert "line" in str(error)
