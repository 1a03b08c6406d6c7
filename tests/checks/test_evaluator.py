"""The evaluator: windows, the grace of a young host, and faults that most devices share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.check import LevelCheck, Outcome
from checks.evaluator import Window, compare, judge
from checks.finding import Action, Finding, Verdict
from checks.policy import PeerRule, Policy
from checks.readings import RdmaPort, RdmaReading

RULE = PeerRule(Action.CHECK_CABLING, "look at their switch")


def hot(readings: Sequence[RdmaReading]) -> tuple[Finding, ...]:
    """Find every port at fault whose state is 1."""
    ports = [port for port in readings[-1].ports if port.state == 1]
    return tuple(fault(port.name) for port in ports)


def fault(device: str, code: str = "down", verdict: Verdict = Verdict.FAILED) -> Finding:
    return Finding("fabric.hot", device, code, verdict, Action.REBOOT, f"{device} is down")


def check(policy: Policy, window_s: float = 0.0) -> LevelCheck:
    outcomes = (Outcome("down", Verdict.FAILED, Action.REBOOT),)
    return LevelCheck("fabric.hot", "Hot.", RdmaReading, hot, outcomes, window_s=window_s, policy=policy)


def reading(at_s: float, states: Sequence[int]) -> RdmaReading:
    return RdmaReading(at_s, tuple(RdmaPort(f"mlx5_{number}/1", state=state) for number, state in enumerate(states)))


def test_a_young_host_is_unknown() -> None:
    graced = check(Policy(boot_grace_s=300.0, because="it starts"))
    (young,) = judge(graced, [reading(299.0, [1])])
    (grown,) = judge(graced, [reading(300.0, [1])])
    assert (young.verdict, young.action) == (Verdict.UNKNOWN, Action.NONE)
    assert young.because == "mlx5_0/1 is down; it counts once the host is up for 300 s, now it is for 299 s"
    assert (grown.verdict, grown.action) == (Verdict.FAILED, Action.REBOOT)


@pytest.mark.parametrize(
    ("states", "devices"),
    [
        ([1, 1, 4, 4, 4, 4, 4, 4], ["mlx5_0/1", "mlx5_1/1"]),
        ([1, 1, 1, 1, 4, 4, 4, 4], ["mlx5_0/1", "mlx5_1/1", "mlx5_2/1", "mlx5_3/1"]),
        ([1, 1, 1, 1, 1, 4, 4, 4], ["host"]),
        ([1, 1], ["mlx5_0/1", "mlx5_1/1"]),
    ],
)
def test_what_most_devices_show_is_one_fault_of_the_host(states: list[int], devices: list[str]) -> None:
    found = judge(check(Policy(peers=RULE, because="one switch")), [reading(0.0, states)])
    assert devices == [finding.device for finding in found]


def test_the_one_finding_says_who_shows_it_and_what_mends_it() -> None:
    (found,) = judge(check(Policy(peers=RULE, because="one switch")), [reading(0.0, [1, 1, 1])])
    assert found.because == "3 of 3 devices, mlx5_0/1 among them: mlx5_0/1 is down; look at their switch"
    assert (found.action, found.evidence) == (Action.CHECK_CABLING, {"devices": "mlx5_0/1, mlx5_1/1, mlx5_2/1"})


def test_unknowns_are_never_joined() -> None:
    unknowns = [fault(name, verdict=Verdict.UNKNOWN) for name in "abc"]
    assert list(compare(unknowns, RULE, among=3)) == unknowns


def test_a_window_keeps_what_its_widest_check_looks_at() -> None:
    narrow, wide = check(Policy()), check(Policy(), window_s=10.0)
    window = Window((narrow, wide))
    assert window.newest is None
    for at_s in (0.0, 5.0, 10.0, 15.0, 20.0):
        window.add(reading(at_s, []))
    assert [(each, [seen.at_s for seen in readings]) for each, readings in window.views()] == [
        (narrow, [20.0]),
        (wide, [10.0, 15.0, 20.0]),
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y"]), st.sampled_from(Verdict)), max_size=12),
    st.integers(0, 8),
)
def test_comparing_loses_no_fault(found: list[tuple[str, str, Verdict]], among: int) -> None:
    findings = [fault(device, code, verdict) for device, code, verdict in found]
    compared = compare(findings, RULE, among=among)
    assert {finding.code for finding in findings} == {finding.code for finding in compared}
    worst = {verdict for _, _, verdict in found}
    assert (Verdict.FAILED in worst) == (Verdict.FAILED in {finding.verdict for finding in compared})


@pytest.mark.parametrize(
    ("policy", "history", "ripe"),
    [
        (Policy(), 0b1, True),
        (Policy(raise_after=2), 0b1, False),
        (Policy(raise_after=2), 0b11, True),
        (Policy(raise_after=2), 0b101, False),
        (Policy(raise_after=2, raise_within=3), 0b101, True),
        (Policy(raise_after=2, raise_within=3), 0b1001, False),
    ],
)
def test_when_a_fault_counts(policy: Policy, history: int, ripe: bool) -> None:
    assert ripe == policy.is_ripe(history)
