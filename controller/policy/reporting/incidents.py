"""Each open incident as the log tells it: what its time goes to, which repairs were tried, and whether they held."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller import events
from controller.policy.incident import PEOPLE
from controller.policy.lemon import NOT_FAILURES
from controller.policy.opening import OPERATOR_CORDON
from controller.policy.playbook import ADMISSION_CLASS, REPAIRS, Mode, Playbook, Verb

HANDLING = "handling"
"""Steps that take seconds (cordon, collect, uncordon, ticket, page), and the moments between steps."""
WAIT, DRAIN, REPAIR, VERIFY, PROBATION = "wait", "drain", "repair", "verify", "probation"

PARTS = (WAIT, HANDLING, DRAIN, REPAIR, VERIFY, PROBATION, PEOPLE)
"""What a repair's time is split into."""

_DOING = {
    Verb.DRAIN: DRAIN,
    Verb.VERIFY: VERIFY,
    Verb.PROBATION: PROBATION,
    Verb.WAIT: f"{WAIT}:step",
    Verb.APPROVE: f"{WAIT}:approval",
    **dict.fromkeys(REPAIRS, REPAIR),
}


@dataclass(slots=True)
class Try:
    """One repair that was carried out: by a verb, or by people."""

    verb: str
    at: float
    verified_at: float = 0.0


@dataclass(slots=True)
class Open:
    """An incident that is open.

    Attributes:
        kind: what its hold of a node is: `fault`, `operator`, `admission` or `drill`; `fleet` for one of no node.
        by_drill: a person's drill made it, whether drills count or not.
        raised_at: when its first finding came into the log, 0 where the log does not tell.
        doing: what its time goes to, from `doing_at` on.
        spent_s: what it went to before.
        cordoned_at: when a cordon of it was first confirmed, 0 before.
        in_returning: it is on its way back after people had it.
        taken_up: key of the step that a node or its BMC said it would carry out, empty before.
        tries: repairs of it, the last one not yet judged.
    """

    id: str
    node: str
    part: str
    sku: str
    kind: str
    fault_class: str
    opened_at: float
    is_failure: bool
    shadow: bool
    by_drill: bool = False
    raised_at: float = 0.0
    doing: str = HANDLING
    doing_at: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)
    cordoned_at: float = 0.0
    handed_over: bool = False
    in_returning: bool = False
    intent: events.StepIntended | None = None
    taken_up: str = ""
    tries: list[Try] = field(default_factory=list)

    def does(self, doing: str, at: float) -> None:
        """From now on its time goes to something else."""
        self.spent_s[self.doing] = self.spent_s.get(self.doing, 0.0) + at - self.doing_at
        self.doing, self.doing_at = doing, at

    def intends(self, event: events.StepIntended, at: float) -> None:
        """A step of it began."""
        self.intent = event
        if not self.handed_over:
            self.does(_DOING.get(Verb(event.verb), HANDLING), at)

    def ends(self, event: events.StepEnded, at: float) -> events.StepIntended | None:
        """A step of it ended; return the step, `None` when it was given up before."""
        intent = self.intent
        if intent is None or intent.key != event.key:
            return None
        self.intent = None
        if not self.handed_over:
            self.does(HANDLING, at)
        return intent

    def waits(self, for_what: str, at: float) -> None:
        """It waits: for a budget, a pause, an approval. A scope that is named with it is left out."""
        self.does(f"{WAIT}:{for_what.partition(' of ')[0].replace(' ', '_')}", at)

    def is_handed_over(self, at: float) -> None:
        """People have it; what is still told to them takes no time of its own."""
        self.handed_over, self.in_returning, self.intent = True, False, None
        self.does(PEOPLE, at)

    def returns(self, at: float) -> None:
        """It is mended, as people say: the way back begins."""
        self.handed_over, self.in_returning = False, True
        self.does(HANDLING, at)

    def spent_by_part(self) -> dict[str, float]:
        """Return seconds by `PARTS`; what was waited for is one part."""
        spent = dict.fromkeys(PARTS, 0.0)
        for doing, seconds in self.spent_s.items():
            spent[doing.partition(":")[0]] += seconds
        return spent


def opened(event: events.IncidentOpened, at: float, *, sku: str, drill: bool) -> Open:
    """Return the record of an incident that opened."""
    return Open(
        event.incident_id,
        event.node,
        event.part,
        sku,
        kind_of(event.node, event.fault_class, drill=drill),
        event.fault_class,
        at,
        is_failure=bool(event.node) and is_failure(event.fault_class, event.playbook),
        shadow=(event.mode or event.playbook.mode) == Mode.SHADOW,
        doing_at=at,
    )


def kind_of(node: str, fault_class: str, *, drill: bool) -> str:
    """Return what an incident's hold of its node is."""
    if not node:
        return "fleet"
    if drill:
        return "drill"
    if fault_class == OPERATOR_CORDON.fault_class:
        return "operator"
    return "admission" if fault_class == ADMISSION_CLASS else "fault"


def is_failure(fault_class: str, playbook: Playbook) -> bool:
    """Return whether such an incident says that something failed: it would take its node out, and nobody wished it."""
    takes_out = any(step.verb is Verb.CORDON for step in playbook.steps)
    return takes_out and fault_class not in NOT_FAILURES
