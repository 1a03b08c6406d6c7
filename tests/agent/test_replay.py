"""Recordings judged again: every case of the tests, hysteresis, lines as they were captured, and any input at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.replay import Replay, replay
from checks.finding import Verdict
from checks.readings import HostReading, KernelRecord, NvmlReading, RdmaPort, RdmaReading
from checks.recording import BY_SOURCE, FORMAT, Header, Reset, Started, Taken, Unobserved, What
from tests.support.check_cases import Case, all_cases

HEADER = Header(FORMAT, "a test", boot_id="boot-1")


def down(at_s: float, state: int) -> Taken:
    port = RdmaPort("mlx5_0/1", link_layer="InfiniBand", state=state, phys_state=5 if state == 4 else 2)
    return Taken(int(at_s), 0.0, "rdma", RdmaReading(1_000.0 + at_s, (port,), {"mlx5_0/1": 400.0}))


def test_edges_come_after_the_hysteresis_of_their_check_and_end_with_ok() -> None:
    states = [4, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4]
    taken = [down(10.0 * number, state) for number, state in enumerate(states, 1)]
    edges = [edge for edge in replay(HEADER, taken) if edge.code == "down" and edge.verdict != "unknown"]
    assert [edge.verdict for edge in edges] == ["failed", "ok"]
    assert edges[0].line < edges[1].line
    assert (edges[1].check, edges[1].device, edges[1].action) == ("fabric.rdma_port", "mlx5_0/1", "none")
    assert edges[1].because


def test_a_line_that_goes_on_belongs_to_the_record_before_it() -> None:
    lines = [b"[1.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", b"      more of it", b""]
    taken = [Taken(number, 0.0, "kernel_log", line) for number, line in enumerate(lines, 2)]
    assert [(edge.line, edge.code) for edge in replay(HEADER, taken)] == [(2, "79")]


def test_what_any_process_can_write_is_believed_only_when_asked() -> None:
    text = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus."
    taken = [Taken(2, 1.0, "kernel_log", KernelRecord(1.0, text, facility=1))]
    trusting = Header(FORMAT, "a test", accept_userspace=True)
    asked = {"quiet": list(replay(HEADER, taken)), "header": list(replay(trusting, taken))}
    assert {name: len(edges) for name, edges in asked.items()} == {"quiet": 0, "header": 1}
    assert len(list(replay(HEADER, taken, accept_userspace=True))) == 1


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_every_case_is_judged_to_its_end_and_says_nothing_that_it_does_not_expect(case: Case) -> None:
    edges = list(replay(case.header, case.taken))
    expected = case.expected if isinstance(case.expected, list) else []
    faults = {(each["device"], each["code"]) for each in expected if each["verdict"] in ("failed", "degraded")}
    said = [edge for edge in edges if edge.check == case.check and edge.verdict in (Verdict.FAILED, Verdict.DEGRADED)]
    last = case.taken[-1].number
    assert {(edge.device, edge.code) for edge in said if edge.line == last} <= faults


READINGS = st.sampled_from(
    [
        kind(1.0, **({"readable": True} if kind.SOURCE == "kernel_log" else {}))  # type: ignore[call-arg]
        for kind in BY_SOURCE.values()
    ]
)
WHAT: st.SearchStrategy[What] = st.one_of(
    READINGS,
    st.binary(max_size=80),
    st.builds(KernelRecord, st.floats(0, 1e6), st.text(max_size=60)),
    st.builds(Unobserved, st.text(min_size=1, max_size=10), st.sampled_from(["unobserved", "overdue"])),
    st.builds(Started, st.sampled_from(["boot-1", "boot-2"])),
    st.builds(Reset, st.text(max_size=10)),
)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.sampled_from([*BY_SOURCE]), WHAT), max_size=20))
def test_any_entries_can_be_judged(given_entries: list[tuple[float, str, What]]) -> None:
    player = Replay(HEADER)
    for number, (at, source, what) in enumerate(given_entries, 2):
        for edge in player.feed(Taken(number, at, source, what)):
            assert edge.line == number and edge.because


def test_an_hour_of_silence_is_no_edge() -> None:
    taken = [Taken(2, 1.0, "host", HostReading(1.0)), Taken(3, 3_601.0, "nvml", NvmlReading(3_601.0, expected=False))]
    assert [edge for edge in replay(HEADER, taken) if edge.verdict in ("failed", "degraded")] == []
