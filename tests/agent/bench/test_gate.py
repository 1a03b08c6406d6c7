"""The gate, as tables and as a state machine that anything may happen to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.bench.gate import IDLE_S, LONGEST_GAP_S, MEMORY_LIMIT_BYTES, PATIENCE_S, Gate, GpuUse, Sight, Stage, Terms
from checks.bench_outcome import Outcome

TERMS = Terms("lease-1", "slurm", lease_ends_s=500.0, limit_s=60.0)
IDLE = GpuUse("GPU-1", used_bytes=4 << 20)
FOREIGN = replace(IDLE, foreign=("process 7 (python)",))
USED = replace(IDLE, used_bytes=MEMORY_LIMIT_BYTES)
BUSY = replace(IDLE, utilization_percent=1)
UNTOLD = replace(IDLE, unknown=("GPU-1 does not tell its processes",))


def proving() -> Gate:
    """Return a gate that waits for ten idle seconds, at second 0."""
    return Gate(TERMS, 0.0).agreed(0.0).locked(0.0)


def proven() -> Gate:
    """Return an open gate, at second 10."""
    gate = proving()
    for second in range(11):
        gate = gate.looked(Sight(float(second), (IDLE,)), float(second))
    return gate


def test_it_opens_after_ten_idle_seconds_and_not_before() -> None:
    gate = proving()
    for second in range(10):
        gate = gate.looked(Sight(float(second), (IDLE,)), float(second))
        assert not gate.is_open
    assert gate.looked(Sight(10.0, (IDLE,)), 10.0).is_open


@pytest.mark.parametrize("sight", [(USED,), (BUSY,), (IDLE, BUSY)])
def test_what_is_used_begins_the_ten_seconds_anew(sight: tuple[GpuUse, ...]) -> None:
    gate = proven().looked(Sight(11.0, sight), 11.0)
    assert (gate.is_open, gate.stage) == (False, Stage.PROVING)
    gate = gate.looked(Sight(12.0, (IDLE,)), 12.0)
    assert gate.idle_since_s == 12.0


def test_what_nobody_looked_at_for_a_while_is_not_taken_for_idle() -> None:
    gate = proving().looked(Sight(0.0, (IDLE,)), 0.0).looked(Sight(12.0, (IDLE,)), 12.0)
    assert (gate.is_open, gate.idle_since_s) == (False, 12.0)


def test_it_is_given_up_in_the_end() -> None:
    gate = proving().looked(Sight(PATIENCE_S, (BUSY,)), PATIENCE_S)
    assert (gate.outcome, gate.because) == (Outcome.SKIP, "the node is not idle: GPU-1 is 1 % busy")


@pytest.mark.parametrize(
    ("sight", "because", "outcome"),
    [
        (Sight(11.0, (IDLE, FOREIGN)), "process 7 (python) is on GPU-1", Outcome.SKIP),
        (Sight(11.0, (FOREIGN, FOREIGN)), "process 7 (python) is on GPU-1 (and 1 more)", Outcome.SKIP),
        (
            Sight(11.0, (UNTOLD,)),
            "it is not known whether the GPUs are idle: GPU-1 does not tell its processes",
            Outcome.ERROR,
        ),
        (Sight(11.0, unknown="it hangs"), "it is not known whether the GPUs are idle: it hangs", Outcome.ERROR),
    ],
)
def test_a_job_and_what_is_not_known_shut_it_at_any_stage(sight: Sight, because: str, outcome: Outcome) -> None:
    """A job that arrives is what the node is for; that nobody can tell any more is an error of what ran."""
    waiting, running = proven().looked(sight, 11.0), proven().started(10.0).looked(sight, 11.0)
    assert [(Outcome.SKIP, because), (outcome, because)] == [(g.outcome, g.because) for g in (waiting, running)]


def test_its_own_work_is_no_sign_of_use_while_it_runs() -> None:
    gate = proven().started(10.0).looked(Sight(11.0, (USED, BUSY)), 11.0)
    assert gate.stage is Stage.RUNNING


@pytest.mark.parametrize(
    ("terms", "because"),
    [
        (replace(TERMS, lease=""), "the controller gave no lease"),
        (replace(TERMS, idle_by=""), "it is not known whether the node is idle: nobody says that it has no work"),
        (replace(TERMS, limit_s=0.0), "it may take 0 s, which is no time"),
        (replace(TERMS, lease_ends_s=1.0), "the lease lease-1 is over"),
    ],
)
def test_without_terms_the_lock_is_not_even_asked_for(terms: Terms, because: str) -> None:
    gate = Gate(terms, 1.0).agreed(1.0)
    assert (gate.stage, gate.outcome, gate.because) == (Stage.ENDED, Outcome.SKIP, because)


@pytest.mark.parametrize("gate", [Gate(TERMS, 0.0), proving(), proven().started(10.0), proven().ended("over")])
def test_nothing_starts_that_is_not_proven(gate: Gate) -> None:
    with pytest.raises(ValueError, match="may not be started"):
        gate.started(11.0)


def test_a_lease_that_ends_at_the_last_moment_starts_nothing() -> None:
    assert proven().started(500.0).is_shut


NUMBERS = st.sampled_from([0, 0, 0, 0, 1, 100])
USES = st.builds(
    GpuUse,
    st.just("GPU-1"),
    st.sampled_from([(), (), (), (), ("process 7",)]),
    NUMBERS.map(lambda share: share * MEMORY_LIMIT_BYTES // 50),
    NUMBERS,
    st.sampled_from([(), (), (), (), ("untold",)]),
)
SIGHTS = st.one_of(
    st.just(((IDLE,), "")), st.tuples(st.lists(USES, max_size=2).map(tuple), st.sampled_from(["", "", "it hangs"]))
)
STEPS = st.sampled_from([0.1, 0.5, 0.5, 0.5, 1.0, 1.9, 5.0, 100.0])


class Anything(RuleBasedStateMachine):
    """Whatever happens in whatever order, beside what was really seen."""

    def __init__(self) -> None:
        """Begin with a gate that nobody asked yet."""
        super().__init__()
        self.now = 0.0
        self.gate = Gate(TERMS, 0.0)
        self.has_lock = False
        self.looks: list[tuple[float, bool]] = []
        self.shut_with: tuple[Outcome, str] | None = None
        self.starts = 0

    @rule()
    def read_terms(self) -> None:
        """Let the terms be read."""
        self.gate = self.gate.agreed(self.now)

    @rule(refusal=st.sampled_from(["", "", "", "another holds it"]))
    def ask_for_lock(self, refusal: str) -> None:
        """Let the lock be asked for; it counts only once the terms were read."""
        self.has_lock |= self.gate.stage is Stage.AGREED and not refusal
        self.gate = self.gate.locked(self.now, refusal=refusal)

    @rule(step=STEPS, times=st.integers(1, 30), seen=SIGHTS)
    def look(self, step: float, times: int, seen: tuple[tuple[GpuUse, ...], str]) -> None:
        """Let the GPUs be looked at, so many times."""
        gpus, unknown = seen
        is_idle = not unknown and not any(
            gpu.foreign or gpu.unknown or gpu.utilization_percent or gpu.used_bytes >= MEMORY_LIMIT_BYTES
            for gpu in gpus
        )
        for _ in range(times):
            self.now += step
            self.looks.append((self.now, is_idle))
            was_asked = self.gate.stage not in (Stage.ASKED, Stage.AGREED)
            self.gate = self.gate.looked(Sight(self.now, gpus, unknown), self.now)
            is_told = not unknown and not any(gpu.foreign or gpu.unknown for gpu in gpus)
            assert self.gate.is_shut or is_told or not was_asked

    @precondition(lambda self: self.gate.is_open)
    @rule()
    def start(self) -> None:
        """Start the benchmark where that is allowed: all that has to be so must be so by what was really seen."""
        assert self.has_lock
        assert self.was_idle()
        self.gate = self.gate.started(self.now)
        self.starts += self.gate.stage is Stage.RUNNING
        assert self.starts <= 1
        assert self.gate.is_shut or self.now < TERMS.lease_ends_s

    @rule(step=STEPS)
    def wait(self, step: float) -> None:
        """Let time go by."""
        self.now += step
        self.gate = self.gate.passed(self.now)
        assert self.gate.is_shut or self.now < TERMS.lease_ends_s
        ran_s = self.now - (self.gate.ran_since_s or self.now)
        assert self.gate.is_shut or ran_s < TERMS.limit_s

    @rule()
    def call_off(self) -> None:
        """Let it be called off."""
        self.gate = self.gate.ended("called off")
        assert self.gate.is_shut

    @invariant()
    def stays_shut(self) -> None:
        """What is shut stays so, for the reason that shut it, and has one; what ran is an error, the rest a skip."""
        if not self.gate.is_shut:
            return
        assert self.gate.because
        is_error = self.starts and not self.gate.because.startswith("process 7 is on")
        assert self.gate.outcome is (Outcome.ERROR if is_error else Outcome.SKIP)
        self.shut_with = self.shut_with or (self.gate.outcome, self.gate.because)
        assert self.shut_with == (self.gate.outcome, self.gate.because)

    def was_idle(self) -> bool:
        """Return whether the last ten seconds were looked at without a gap, and every look showed nobody."""
        last = self.looks[-1][0]
        for index in range(len(self.looks) - 1, -1, -1):
            at, is_idle = self.looks[index]
            if not is_idle:
                return False
            if last - at >= IDLE_S:
                return True
            if index and at - self.looks[index - 1][0] > LONGEST_GAP_S:
                return False
        return False


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
