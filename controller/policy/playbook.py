"""A playbook as the policy reads it: exact data, with no choices left to make at execution.

controller/playbooks.py builds these from YAML and refuses what is not whole; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from checks.bench_result import Benchmark
from checks.finding import Finding, FindingKey, Verdict
from checks.readings.site import FAMILY


class Verb(StrEnum):
    """What a step does."""

    CORDON = "cordon"
    DRAIN = "drain"
    COLLECT = "collect"
    RESTART_SERVICE = "restart_service"
    RESET_GPU = "reset_gpu"
    RELOAD_DRIVER = "reload_driver"
    REBOOT = "reboot"
    POWER_CYCLE = "power_cycle"
    WAIT = "wait"
    APPROVE = "approve"
    VERIFY = "verify"
    PROBATION = "probation"
    UNCORDON = "uncordon"
    TICKET = "ticket"
    PAGE = "page"


REPAIRS = frozenset({Verb.RESTART_SERVICE, Verb.RESET_GPU, Verb.RELOAD_DRIVER, Verb.REBOOT, Verb.POWER_CYCLE})
"""Steps that change the machine. Only one incident of a node may be inside them at a time."""


RESTARTS = frozenset({Verb.REBOOT, Verb.POWER_CYCLE})
"""Repairs from which the host comes back on another boot."""

LADDER = (Verb.RESTART_SERVICE, Verb.RESET_GPU, Verb.RELOAD_DRIVER, Verb.REBOOT, Verb.POWER_CYCLE)
"""The rungs of the repair ladder, weakest first. Above them are only people."""

QUICK_EFFECTS = frozenset({Verb.CORDON, Verb.UNCORDON, Verb.TICKET, Verb.PAGE})
"""Steps that are over within seconds and must not be abandoned half-way: whoever wants to stop waits for them."""

ORDERS = frozenset({Verb.COLLECT, Verb.RESTART_SERVICE, Verb.RESET_GPU, Verb.RELOAD_DRIVER, Verb.REBOOT, Verb.VERIFY})
"""Steps that the node carries out by a signed order."""


BY_NODE, BY_SCHEDULER = "node", "scheduler"
"""Who reboots a node: its own agent by a signed order, or the scheduler's daemon on it."""

DEVICE = "device"
"""Scope of a drain that frees the sick device alone; without it a drain frees the node."""

DEVICE_REPAIRS = frozenset({Verb.RESET_GPU})
"""Repairs that leave the jobs on other devices of the node alone."""


class Mode(StrEnum):
    """How far a playbook may go by itself."""

    SHADOW = "shadow"
    """Decide and record, touch nothing."""
    ASK = "ask"
    """Plan, then wait for a person's approval before the first step."""
    ACT = "act"


BREAKER_CLASS = "breaker"
BENCH_SHIFT_CLASS = "bench_shift"
"""Fault class of an open breaker, which is an incident of the fleet."""

DOMAIN = "domain"
"""Name of the playbook of a shared cause; the fault class of its incidents ends in it."""

ROLLOUT = "rollout"
"""Fault class of a changed playbook that did badly, which is an incident of the fleet."""


SLOW_NETWORK = "slow_network"
"""Fault class of a link or a switch that a sweep found to be slow, which is an incident of the fleet."""

SWEEP_STOPPED = "sweep_stopped"
"""Fault class of a sweep in which too much was slow, which is an incident of the fleet."""


class OnReturn(StrEnum):
    """What a fault means that comes back on the same part after a repair that was verified."""

    ESCALATE = "escalate"
    """The next rung of the ladder; people when there is none."""
    RMA = "rma"
    """The part is bad: people get it, with all that is needed to send it back."""


class Clears(StrEnum):
    """Who may say that a fault is over."""

    VERIFICATION = "verification"
    PERSON = "person"
    """A green diagnostic proves nothing, as with silent data corruption: only a person, or another part, ends it."""


class Unmeasured(StrEnum):
    """What follows when a benchmark of a verification cannot be run, or nothing is there to judge its numbers by."""

    GO_ON = "go_on"
    """The step goes on and says so: a host without the means must not stay out for ever."""
    HAND_OVER = "hand_over"
    """People get the node."""


TIERS = (1, 2, 3)
"""Of benchmarks, by how long one may take, see wire/bench.py."""

HAND_OVER = "hand_over"
"""The jump that ends the automatic part: the steps under `hand_over` follow, and the node stays out."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How long the next attempt waits: `after_s` after the first failure, `factor` times as long after each further
    one, and never longer than `at_most_s`."""

    after_s: float = 10.0
    factor: float = 2.0
    at_most_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: unique within the playbook; the verb unless given.
        limit_s: the step fails when it takes longer.
        on_success: name of a later step to go on with, empty for the next one.
        on_failure: name of a later step, or `hand_over`.
        attempts: how often the step is tried before it has failed.
        parameters: verb-specific, checked by the loader: `drain` has `jobs` (`wait`, `requeue` or `cancel`) and may
            have `scope` (`node` or `device`), `restart_service` may have `service`, `reset_gpu` may have `neighbours`
            (`keep` or `reset`), `reboot` may have `by` (`node` or `scheduler`) and `force` (`never` or `when_stuck`),
            `ticket` has `team`, `page` has `severity`, `wait` and `probation` have `for_s`, `approve` has `question`,
            `verify` may have `benchmarks` (comma-separated), `tier` and `unmeasured` (`go_on` or `hand_over`).
        retry: how long each next attempt waits; `None` leaves it to the verb.
    """

    name: str
    verb: Verb
    limit_s: float
    on_success: str = ""
    on_failure: str = HAND_OVER
    attempts: int = 1
    parameters: dict[str, str] = field(default_factory=dict)
    retry: Retry | None = None


BENCH_CHECKS: Mapping[str, str] = {f"bench.{benchmark}": str(benchmark) for benchmark in Benchmark}
"""Check of what a benchmark finds → the benchmark. It is over when that benchmark passes, and no sooner."""

ADMISSION = FindingKey("node.admission", "node", "")
"""A node is new, or has other parts, and is kept out of service until its benchmarks passed."""

ADMISSION_CLASS = "node_admission"
"""Fault class of its incidents, which say nothing of the node: it never was in service."""

MEASURED_CHECKS = frozenset({*BENCH_CHECKS, ADMISSION.check})
"""What benchmarks show to be over, and no reading does."""

OWN_CHECKS = frozenset(
    {
        "agent.presence",
        "node.presence",
        "node.lemon",
        "node.messages",
        "part.condemned",
        "peer.outlier",
        "k8s.condition",
        *MEASURED_CHECKS,
    }
)
"""What the controller itself finds, or is told by others than the node: no node can be asked to look again."""

EVERY_SITE_CHECK = f"{FAMILY}.*"
"""Stands for every check that a site adds, whose names nobody knows here."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Which findings a playbook answers: all that is given must match. Empty codes match every code.

    Attributes:
        check: its id, or `site.*` for all that a site adds.
        actions: only findings whose suggested action is one of these; empty matches every action.
    """

    check: str
    codes: frozenset[str] = frozenset()
    verdicts: frozenset[Verdict] = frozenset({Verdict.FAILED})
    actions: frozenset[str] = frozenset()

    def names(self, check: str) -> bool:
        """Return whether the check is meant, or all the checks are that are meant by another such name."""
        return check == self.check or (self.check == EVERY_SITE_CHECK and check.startswith(EVERY_SITE_CHECK[:-1]))

    def match(self, finding: Finding) -> bool:
        """Return whether this line answers the finding. `unknown` is never answered (I1)."""
        return (
            self.names(finding.check)
            and finding.verdict in self.verdicts
            and finding.verdict is not Verdict.UNKNOWN
            and (not self.codes or finding.code in self.codes)
            and (not self.actions or finding.action in self.actions)
        )


@dataclass(frozen=True, slots=True)
class Playbook:
    """One fault family.

    Attributes:
        fault_class: what its incidents are called; one open incident per (node, component, class).
        precedence: lower wins when findings of several classes come as one burst.
        confirm_s: how long a finding must have stood before an incident opens; 0 acts at once.
        max_at_once: how many incidents of this playbook may hold nodes out at the same time, 0 = no own limit.
        reversible: whether all before a repair can be undone; if not, people are asked, unless settings trust it
        on_return: what it means when the fault comes back on the same part.
        clears: who may say that the fault is over.
        steps: the automatic part, in order. Jumps go forward only, so every run ends.
        hand_over: what follows when the automatic part gives up.
        digest: hash of the file, so that a log says which text decided.
    """

    name: str
    summary: str
    fault_class: str
    severity: str
    precedence: int
    answers: tuple[Answers, ...]
    steps: tuple[Step, ...]
    hand_over: tuple[Step, ...]
    mode: Mode = Mode.ACT
    confirm_s: float = 0.0
    max_at_once: int = 0
    drain_needed: bool = True
    reversible: bool = True
    digest: str = ""
    source: str = ""
    runbook: str = ""
    on_return: OnReturn = OnReturn.ESCALATE
    clears: Clears = Clears.VERIFICATION

    def answer(self, finding: Finding) -> bool:
        """Return whether this playbook answers the finding."""
        return any(line.match(finding) for line in self.answers)
