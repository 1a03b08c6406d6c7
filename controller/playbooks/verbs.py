"""What each verb of a step takes, and how long it may last when the playbook does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from checks.bench_result import Benchmark
from controller.playbooks.kinds import LIMIT, SERVICE, TEXT, WORD, Key, Keys, count, list_of, one_of
from controller.policy.playbook import BY_NODE, BY_SCHEDULER, DEVICE, HAND_OVER, TIERS, Unmeasured, Verb

SEVERITIES = ("info", "warning", "critical")
JOBS = ("wait", "requeue", "cancel")
SCOPES = ("node", DEVICE)
REBOOTERS = (BY_NODE, BY_SCHEDULER)
NEIGHBOURS = ("keep", "reset")
FORCE = ("never", "when_stuck")
STARTS = ("warm", "cold")
MARGIN_S = 60.0
"""Added to a wait's own length, so that it never runs into its own time limit."""

_FOR = {"for": Key(LIMIT, "how long, e.g. 10m", required=True)}


@dataclass(frozen=True, slots=True)
class VerbShape:
    """One verb.

    Attributes:
        limit_s: time limit when the playbook gives none; 0 for verbs that last as long as their `for` and take none.
        attempts: how often it is tried when the playbook does not say.
        own_keys: parameters beyond those that every step has.
        best_effort: its failure goes on with the next step unless the playbook says otherwise.
    """

    summary: str
    limit_s: float
    attempts: int = 1
    own_keys: Keys = field(default_factory=dict)
    best_effort: bool = False

    def keys(self, *, jumps: bool) -> Keys:
        """Return every key that a step of this verb may have."""
        shared = {"name": NAME_KEY, "attempts": replace(ATTEMPTS_KEY, default=self.attempts), **RETRY_KEYS}
        limit = {"limit": replace(LIMIT_KEY, default=self.limit_s)} if self.limit_s else {}
        return {**self.own_keys, **shared, **limit, **(self._jump_keys() if jumps else {})}

    def _jump_keys(self) -> Keys:
        usual = "the next step" if self.best_effort else HAND_OVER
        return {
            "on_success": Key(WORD, f"a later step to go on with, or {HAND_OVER}; the next step when absent"),
            "on_failure": Key(WORD, f"a later step to go on with, or {HAND_OVER}; {usual} when absent"),
        }


NAME_KEY = Key(WORD, "how jumps and the timeline call the step; the verb when absent")
ATTEMPTS_KEY = Key(count(1, 10), "how often the step is tried before it has failed")
RETRY_KEYS: Keys = {
    "retry_after": Key(LIMIT, "how long the second attempt waits after the first failed; 10 s, and 5 s for verify"),
    "back_off": Key(count(1, 10), "each further attempt waits so many times as long; 2, and 1 for verify"),
    "retry_at_most": Key(LIMIT, "no attempt waits longer; 5 minutes, and 5 s for verify"),
}
LIMIT_KEY = Key(LIMIT, "the step has failed when it takes longer; in seconds, or like 10m")

VERBS: Mapping[Verb, VerbShape] = {
    Verb.CORDON: VerbShape("let no new work onto the node; running jobs go on", 120.0, attempts=3),
    Verb.DRAIN: VerbShape(
        "wait until no job is left on the node",
        600.0,
        own_keys={
            "jobs": Key(
                one_of(JOBS), "`wait` leaves jobs alone, `requeue` puts them back, `cancel` ends them", required=True
            ),
            "scope": Key(
                one_of(SCOPES),
                "`device` asks only the jobs that hold the sick GPU, where the scheduler knows them, else all; `node` "
                "when absent",
            ),
        },
    ),
    Verb.COLLECT: VerbShape("have the node gather evidence before a repair destroys it", 300.0, best_effort=True),
    Verb.RESTART_SERVICE: VerbShape(
        "restart a systemd unit on the node, which its agent must allow",
        300.0,
        own_keys={"service": Key(SERVICE, "the unit; the one that the incident is about when absent")},
    ),
    Verb.RESET_GPU: VerbShape(
        "reset the GPU that the incident is about",
        600.0,
        own_keys={
            "neighbours": Key(
                one_of(NEIGHBOURS),
                "`reset` lets the idle GPUs be reset that can only be reset together with it; `keep` refuses, and is "
                "what holds when absent",
            )
        },
    ),
    Verb.RELOAD_DRIVER: VerbShape("unload the NVIDIA driver of an empty node and load it again", 900.0),
    Verb.REBOOT: VerbShape(
        "reboot the node; it is over when another boot id is seen",
        1800.0,
        own_keys={
            "by": Key(
                one_of(REBOOTERS),
                "`node` has its agent reboot it, `scheduler` the scheduler's own daemon (Slurm), which may answer when "
                "the agent does not; `node` when absent",
            ),
            "force": Key(
                one_of(FORCE),
                "`when_stuck` goes down without ending services when systemd does not reboot in order; `never` fails, "
                "and is what holds when absent",
            ),
        },
    ),
    Verb.POWER_CYCLE: VerbShape(
        "switch the node off and on by its BMC, once it is confirmed lost or empty",
        1800.0,
        own_keys={
            "start": Key(
                one_of(STARTS),
                "`warm`: a restart by the BMC is enough, `cold`: power is gone in between",
                default="warm",
            )
        },
    ),
    Verb.WAIT: VerbShape("let time pass", 0.0, own_keys=_FOR),
    Verb.APPROVE: VerbShape(
        "wait for a person's yes",
        86_400.0,
        own_keys={"question": Key(TEXT, "what the person is asked", required=True)},
    ),
    Verb.VERIFY: VerbShape(
        "run the checks that condemned the node on fresh readings, then the benchmarks; all must pass",
        300.0,
        attempts=3,
        own_keys={
            "benchmarks": Key(
                list_of(one_of(list(map(str, Benchmark))), f"write a list out of {', '.join(Benchmark)}"),
                "what is measured once the checks pass; those that condemned the node are measured in any case",
            ),
            "tier": Key(
                count(min(TIERS), max(TIERS)),
                "of the benchmarks: 1 takes at most 30 s each, 2 at most 5 minutes, 3 longer; 1 when absent",
            ),
            "unmeasured": Key(
                one_of(list(map(str, Unmeasured))),
                "when a benchmark cannot be run here, or there is nothing to judge its numbers by: `go_on` says so and "
                "lets the node return, `hand_over` leaves it to people; `go_on` when absent",
            ),
        },
    ),
    Verb.PROBATION: VerbShape("watch the idle node; a fault that comes back ends it", 0.0, own_keys=_FOR),
    Verb.UNCORDON: VerbShape("give the node back to the scheduler", 120.0, attempts=3),
    Verb.TICKET: VerbShape(
        "open a ticket with the evidence",
        300.0,
        attempts=3,
        own_keys={"team": Key(WORD, "who gets it, e.g. datacentre", required=True)},
    ),
    Verb.PAGE: VerbShape(
        "page the on-call engineer",
        300.0,
        attempts=3,
        own_keys={"severity": Key(one_of(SEVERITIES), "how urgent it is", required=True)},
    ),
}
"""Source of the time limits: our choice, above the medians of the fault model (GPU reset 60 s, reboot 10 min)."""
