"""Slurm's JSON, read without a Slurm: as 24.11.5 printed it, by each of its data parsers, beside its text.

`python -m tests.support.slurm_capture` wrote the files; `origin.json` beside them says of which release.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.schedulers import slurm_json
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_text import TextReader
from controller.schedulers.slurm_view import SlurmJob, SlurmNode

CAPTURED = Path(__file__).parent / "slurm_24_11"
PARSERS = ("v0.0.40", "v0.0.41", "v0.0.42")
READER = JsonReader()


def captured(name: str) -> str:
    return (CAPTURED / name).read_text()


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("moment", ["working", "silent"])
def test_the_two_forms_of_one_moment_say_the_same(moment: str, parser: str) -> None:
    kinds = ("nodes", "jobs", "reservations")
    by_text, text_jobs, text_reserved = (captured(f"{what}-{moment}.txt") for what in kinds)
    by_json, json_jobs, json_reserved = (captured(f"{what}-{moment}-{parser}.json") for what in kinds)

    assert TextReader().parse_nodes(by_text) == READER.parse_nodes(by_json)
    assert sorted(TextReader().parse_jobs(text_jobs), key=str) == sorted(READER.parse_jobs(json_jobs), key=str)
    assert TextReader().parse_reservations(text_reserved) == READER.parse_reservations(json_reserved)


def test_what_is_captured_holds_every_kind_of_node_and_job() -> None:
    nodes = READER.parse_nodes(captured("nodes-working-v0.0.42.json"))
    silent = READER.parse_nodes(captured("nodes-silent-v0.0.42.json"))

    assert {node.name: node.held_by for node in nodes} == {"n1": "", "n2": "inc-000007", "n3": "", "n4": "", "n5": ""}
    assert nodes[3].foreign_reason == 'by hand; State=IDLE, Reason=none [me] 100 % "quoted" ü'
    assert ("DOWN", frozenset({"NOT_RESPONDING"}), "Not responding") == (
        silent[0].base,
        silent[0].flags,
        silent[0].reason,
    )
    firmware, big_run = READER.parse_reservations(captured("reservations-working-v0.0.42.json"))
    assert (firmware.nodes, "MAINT" in firmware.flags, firmware.ends_at - firmware.starts_at) == ("n5", True, 600.0)
    assert (big_run.nodes, "MAINT" in big_run.flags) == ("n[1-2]", False)
    ends = {job.id: job.ends_at for job in READER.parse_jobs(captured("jobs-working-v0.0.42.json"))}
    assert ends["1"] > 0.0
    assert ends["2_1"] == 0.0
    names = {job.id for job in READER.parse_jobs(captured("jobs-working-v0.0.42.json"))}
    assert {"1", "2_1"} < names
    assert {"+0", "+1"} == {name[name.index("+") :] for name in names if "+" in name}


def nodes_of(**node: Any) -> list[SlurmNode]:
    return READER.parse_nodes(json.dumps({"nodes": [{"name": "n1", **node}]}))


def jobs_of(**job: Any) -> list[SlurmJob]:
    return READER.parse_jobs(json.dumps({"jobs": [{"job_id": 17, "nodes": "n1", **job}]}))


@pytest.mark.parametrize(
    "state", [["IDLE", "DRAIN"], ["DRAIN", "IDLE"], "IDLE+DRAIN"], ids=["list", "flag first", "words in one"]
)
def test_a_state_is_read_in_each_shape(state: object) -> None:
    assert [SlurmNode("n1", "IDLE", frozenset({"DRAIN"}), "why")] == nodes_of(state=state, reason=" why ")


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"job_state": "RUNNING"}, "17"),
        ({"job_state": ["RUNNING"], "array_job_id": 0, "array_task_id": None}, "17"),
        ({"job_state": ["RUNNING"], "array_job_id": 16, "array_task_id": 3}, "16_3"),
        ({"job_state": ["RUNNING"], "array_job_id": {"number": 16}, "array_task_id": {"number": 0}}, "16_0"),
        (
            {
                "job_state": ["RUNNING"],
                "array_job_id": {"set": True, "infinite": False, "number": 16},
                "array_task_id": {"set": False, "infinite": False, "number": 0},
            },
            "17",
        ),
        ({"job_state": ["RUNNING"], "het_job_id": 16, "het_job_offset": 1}, "16+1"),
        ({"job_state": ["RUNNING"], "het_job_id": {"set": False, "infinite": False, "number": 16}}, "17"),
    ],
)
def test_a_number_is_read_in_each_shape(job: dict[str, Any], expected: str) -> None:
    assert [SlurmJob(expected, "RUNNING", "n1")] == jobs_of(**job)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["CANCELLED", "COMPLETING"], ["COMPLETING"]),
        (["PENDING", "COMPLETING"], ["COMPLETING"]),
        (["RUNNING", "CONFIGURING"], ["RUNNING"]),
        (["PENDING"], []),
        (["COMPLETED"], []),
        ([], []),
    ],
)
def test_a_job_that_ends_is_completing_and_one_without_nodes_is_none(states: list[str], expected: list[str]) -> None:
    assert expected == [job.state for job in jobs_of(job_state=states)]


@pytest.mark.parametrize(
    ("read", "output", "because"),
    [
        (READER.parse_nodes, "", "what scontrol --json said ends in the middle"),
        (READER.parse_reservations, '{"reservations": [{"name": "a"', "what scontrol --json said ends in the middle"),
        (READER.parse_reservations, '{"reservations": [{"name": "a"}]}', "missing required field `node_list`"),
        (READER.parse_nodes, "slurm_load_node error", "scontrol --json is not understood: JSON is malformed"),
        (READER.parse_nodes, "{}", "missing required field `nodes`"),
        (READER.parse_nodes, '{"nodes": [{"name": "n1"}]}', r"missing required field `state` - at `\$.nodes\[0\]`"),
        (READER.parse_nodes, '{"nodes": [{"name": 7, "state": []}]}', r"Expected `str`, got `int`"),
        (READER.parse_nodes, '{"nodes": [{"name": "n1", "state": ["DRAIN"]}]}', "node 'n1': state .'DRAIN'. does not"),
        (READER.parse_nodes, '{"nodes": [{"name": "n1", "state": ["IDLE", "DOWN"]}]}', "node 'n1': state"),
        (
            READER.parse_nodes,
            '{"nodes": [], "errors": [{"description": "not today"}]}',
            "scontrol --json says: not today",
        ),
        (READER.parse_nodes, '{"nodes": [], "errors": [{}]}', "an error without a word"),
        (READER.parse_jobs, '{"jobs": [{"job_id": 1}]}', "squeue --json is not understood: .*`job_state`"),
        (READER.parse_jobs, "[" * 100_000, "squeue --json is not understood"),
    ],
)
def test_what_is_not_understood_is_refused(read: Callable[[str], object], output: str, because: str) -> None:
    with pytest.raises(ValueError, match=because):
        read(output)


@pytest.mark.parametrize(
    ("printed", "offered"),
    [("data_parser/v0.0.42\ndata_parser/v0.0.40\n", True), ("", False), ("NodeName=n1 data_parser/v1", False)],
)
def test_json_is_offered_where_a_data_parser_is_named(printed: str, offered: bool) -> None:
    assert slurm_json.offers_json(printed) is offered


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["nodes", "jobs", "reservations", "name", "errors"]), inner)
    ),
)


@given(st.text() | JSON.map(json.dumps))
def test_no_text_at_all_breaks_the_readers(text: str) -> None:
    for read in (READER.parse_nodes, READER.parse_jobs, READER.parse_reservations):
        try:
            read(text)
        except ValueError as error:
            assert "--json" in str(error)
