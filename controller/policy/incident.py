"""One incident and the only rules by which it moves from step to step.

An incident runs a list of steps in one of four phases. A step is intended, then it ends; what follows depends on the
outcome alone, and jumps go forward only, so every incident comes to an end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from checks.finding import Finding, FindingKey
from controller import events
from controller.policy.playbook import HAND_OVER, REPAIRS, Mode, Playbook, Step, Verb
from controller.policy.verb_effects import MOST_DOUBTS, attempts_of


class Phase(StrEnum):
    """Which list of steps is being run."""

    AUTOMATIC = "automatic"
    HAND_OVER = "hand_over"
    """Tell people; the node stays out."""
    RETURNING = "returning"
    """People say it is mended, or nothing is wrong with it any more: verify, and give it back."""
    RELEASING = "releasing"
    """A person took the node back, or what may be left of a cordon is undone: our hold ends, nothing else is done."""


RELEASE_STEPS = (Step("uncordon", Verb.UNCORDON, limit_s=120.0, attempts=3),)
RETURN_STEPS = (Step("verify", Verb.VERIFY, limit_s=300.0), Step("uncordon", Verb.UNCORDON, limit_s=120.0, attempts=3))
"""The way back for a playbook that has none of its own."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes. `expires_at` is Unix seconds, 0 for never."""

    by: str
    expires_at: float = 0.0

    def expired(self, now: float) -> bool:
        """Return whether it is too old to be used."""
        return 0.0 < self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Rung:
    """One repair that was tried: by which verb or by `people`, how it ended, and whether fresh readings passed then."""

    verb: str
    outcome: str
    at: float
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle of evidence that the node gathered for the incident.

    Attributes:
        state: `sent`, as the node says; `stored`; `delayed`: there is no room for it now; `failed`: it never came;
            `removed`: it came, and is there no more.
        url: where people get it, empty unless it is stored.
    """

    upload: str
    state: str
    because: str = ""
    size_bytes: int = 0
    sha256: str = ""
    url: str = ""
    at: float = 0.0


NO_RECURRENCE = events.Recurrence()

PEOPLE = "people"
"""The rung above all others."""


@dataclass(slots=True)
class Incident:
    """One incident, open or closed.

    Attributes:
        position: index of the next or current step; past the end by one more when the automatic part gave up.
        intent: the step under way, `None` between steps.
        order: what the node made of the order of `intent`, once it said so.
        progress: what is known of the effect of `intent` before it ended: taken up, put off, or in doubt.
        taken_up_at: when whoever carries the step of `intent` out said that it was taken up, 0 before.
        boot_before: the node's boot id when `intent` was recorded.
        drained: a drain of this incident ended with no job left.
        tries: attempts of the current step already ended in this round.
        doubts: how many of them ended with nobody knowing whether it had happened; they count apart.
        attempts: per step name, how many attempts were ever intended: the last part of each idempotency key.
        holding: the node is out, or about to be, or may be, on this incident's account.
        cordoned: a cordon of this incident was confirmed; without it, what may be left of one is undone.
        repaired_at: when the last repair step ended, 0 before any.
        restarted_from: the node's boot id when its last restart was recorded, empty before any.
        set_mode: how far it may go, as decided when it opened; empty for what its playbook says.
        approvals: what a person said yes to → who, and until when.
        plan_begun: name of the plan of which a step was begun.
        waiting_since: when it began to wait for what it waits for.
        ended_by: verb of the step whose failure ended the automatic part, empty when none did.
        releases_as: how the incident ends once its hold is lifted.
        told: names of the hand-over's steps that reached people; they are not told the same twice.
        condemned_by: every finding this incident was opened or joined for; all must be gone before a return.
        canary: of a breaker that is half open, the incident that may go on.
        canary_outcome: how that one ended, empty before.
        members: of a domain's incident, the failures of each node that still stand.
        member_left_at: when a node of it was last well again, 0 before.
        stop_asked: why a person ended it, empty otherwise.
        part: what it is about, by serial number where known; history follows it.
        recurrence: what the history of the part said when it opened.
        rungs: the repairs that were tried, in order.
        gave_up_at: name of the step whose failure ended the phase, empty while none did.
        rma: why the part is to be sent back, empty when nothing says so.
        last_finding_at: when its newest finding came; a burst goes on for a while after that.
        successor: the other part in its place for which a return was tried.
        drill: a person's drill broke it, so it says nothing about the part.
        bundles: the bundles of evidence of it, by upload.
        closings: how often its ticket was closed by people since one of them decided here.
        closed_there_at: since when a closing of its ticket waits to be verified, 0 while none does.
        acknowledged_by: who looks after it, as they or the place that paged them said; empty while nobody does.
    """

    id: str
    node: str
    device: str
    fault_class: str
    playbook: Playbook
    opened_at: float
    because: str
    phase: Phase = Phase.AUTOMATIC
    position: int = 0
    intent: events.StepIntended | None = None
    intent_at: float = 0.0
    order: events.OrderEnded | None = None
    progress: events.StepProgressed | None = None
    taken_up_at: float = 0.0
    boot_before: str = ""
    drained: bool = False
    tries: int = 0
    doubts: int = 0
    attempts: dict[str, int] = field(default_factory=dict)
    retry_at: float = 0.0
    holding: bool = False
    cordoned: bool = False
    ever_held: bool = False
    repair_begun: bool = False
    repaired_at: float = 0.0
    restarted_from: str = ""
    set_mode: str = ""
    approvals: dict[str, Approval] = field(default_factory=dict)
    plan_begun: str = ""
    return_asked: bool = False
    stop_asked: str = ""
    waiting_for: str = ""
    waiting_since: float = 0.0
    ended_by: str = ""
    releases_as: str = "cancelled"
    outcome: str = ""
    closed_at: float = 0.0
    condemned_by: dict[FindingKey, Finding] = field(default_factory=dict)
    last_failure: str = ""
    evidence: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    members: dict[str, set[FindingKey]] = field(default_factory=dict)
    member_left_at: float = 0.0
    canary: str = ""
    canary_outcome: str = ""
    part: str = ""
    recurrence: events.Recurrence = NO_RECURRENCE
    rungs: list[Rung] = field(default_factory=list)
    gave_up_at: str = ""
    rma: str = ""
    last_finding_at: float = 0.0
    successor: str = ""
    drill: bool = False
    bundles: dict[str, Bundle] = field(default_factory=dict)
    acknowledged_by: str = ""
    acknowledged_at: float = 0.0
    closings: int = 0
    closed_there_at: float = 0.0

    @property
    def state(self) -> str:
        """One word for people: running, waiting, handed_over, aborted or closed."""
        if self.closed_at:
            return "closed"
        if self.outcome and self.phase is Phase.HAND_OVER:
            return self.outcome
        return "waiting" if self.waiting_for else "running"

    @property
    def mode(self) -> Mode:
        """How far it may go by itself."""
        return Mode(self.set_mode) if self.set_mode else self.playbook.mode

    @property
    def plan(self) -> str:
        """The name of its plan, which no other text has."""
        return f"{self.playbook.name}:{self.playbook.digest[:12]}"

    @property
    def ends_by(self) -> float:
        """When the step under way has failed at the latest: at its limit, or when what it waits for must be over."""
        assert self.intent is not None
        return max(self.intent.expires_at, self.progress.until if self.progress is not None else 0.0)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps of the current phase."""
        return _STEPS[self.phase](self.playbook)

    def step(self) -> Step | None:
        """Return the current step, `None` past the end."""
        steps = self.steps()
        return steps[self.position] if self.position < len(steps) else None

    @property
    def gave_up(self) -> bool:
        """Whether a failure led past the end, to the hand-over."""
        return self.position > len(self.steps())

    def step_given_up(self) -> Step | None:
        """Return the step whose failure led past the end, `None` while there is none."""
        return next((step for step in self.steps() if step.name == self.gave_up_at), None)

    def enter(self, phase: Phase) -> None:
        """Begin a phase at its first step."""
        self.gave_up_at = ""
        self.phase, self.position, self.tries, self.doubts, self.retry_at = phase, 0, 0, 0, 0.0
        self.waiting_for = self.ended_by = ""

    def intend(self, event: events.StepIntended, at: float) -> None:
        """A step is under way."""
        self.intent, self.intent_at, self.waiting_for = event, at, ""
        self.order = self.progress = None
        self.taken_up_at = 0.0
        if self.phase is Phase.AUTOMATIC:
            self.plan_begun = self.plan
        self.attempts[event.step] = event.attempt
        if event.verb == Verb.CORDON:
            self.holding = self.ever_held = True
        if event.verb in REPAIRS:
            self.repair_begun = True

    def end_step(self, event: events.StepEnded, at: float) -> None:
        """A step ended: go on, try again, jump, or give up."""
        verb = self.intent.verb if self.intent else ""
        self.drop_intent()
        self.waiting_for = ""
        self.evidence = {**self.evidence, **event.evidence}
        if verb in REPAIRS:
            self.repaired_at = at
        self._count_rung(verb, event.outcome, at)
        step = self.step()
        if step is None or step.name != event.step:
            return
        if event.outcome == "done":
            self.drained = self.drained or verb == Verb.DRAIN
            if self.phase is Phase.HAND_OVER:
                self.told.add(step.name)
            self._go_to(step.on_success)
        else:
            self._after_failure(step, event, at)

    def _count_rung(self, verb: str, outcome: str, at: float) -> None:
        """A repair is a rung, and so is what people did before a return was verified."""
        if verb in REPAIRS:
            self.repaired_at = at
            self.rungs.append(Rung(verb, outcome, at))
        elif verb == Verb.VERIFY and outcome == "done" and self.phase is Phase.RETURNING:
            self.rungs.append(Rung(PEOPLE, "done", at, verified=True))
        elif verb == Verb.VERIFY and outcome == "done" and self.rungs:
            self.rungs[-1] = replace(self.rungs[-1], verified=True)

    def skip(self, go_to: str = "") -> None:
        """The current step is not needed: go on with a later one, or as after its success."""
        step = self.step()
        self.waiting_for = ""
        if step is not None:
            self._go_to(go_to or step.on_success)

    def drop_intent(self) -> None:
        """No step is under way."""
        self.intent = self.order = self.progress = None

    def _after_failure(self, step: Step, event: events.StepEnded, at: float) -> None:
        self.last_failure = event.because
        if event.outcome == "in_doubt":
            self.doubts += 1
        else:
            self.tries += 1
        if step.verb is Verb.CORDON and event.outcome == "refused":
            self.tries = 0
        elif self._may_try_again(step, event):
            self.retry_at = 0.0 if event.outcome == "in_doubt" and self.doubts == 1 else at
        elif self.phase is Phase.HAND_OVER:
            self._go_to("")
        elif step.on_failure == HAND_OVER or event.hands_over:
            self.position, self.ended_by = len(self.steps()) + 1, step.verb
            self.gave_up_at = step.name
        else:
            self._go_to(step.on_failure)

    def _may_try_again(self, step: Step, event: events.StepEnded) -> bool:
        """A refusal is an answer, and what is hopeless stays so. A hold that is known is lifted in the end (I3)."""
        if event.outcome == "refused":
            return False
        if self.phase is Phase.RELEASING and self.cordoned:
            return True
        if event.outcome == "in_doubt":
            return self.doubts <= MOST_DOUBTS
        return not event.permanent and self.tries < attempts_of(step)

    def _go_to(self, name: str) -> None:
        self.tries, self.doubts, self.retry_at = 0, 0, 0.0
        self.position = position_after(self.steps(), self.position, name)


def position_after(steps: tuple[Step, ...], position: int, name: str) -> int:
    """Return where to go on: at the later step called `name`, or at the next one when no name is given."""
    if not name:
        return position + 1
    later = (index for index in range(position + 1, len(steps)) if steps[index].name == name)
    return next(later, len(steps) + 1)


def return_steps(playbook: Playbook) -> tuple[Step, ...]:
    """Return the way back into service: the playbook's own last verification and what follows it."""
    verifications = [index for index, step in enumerate(playbook.steps) if step.verb is Verb.VERIFY]
    tail = playbook.steps[verifications[-1] :] if verifications else ()
    return tail if any(step.verb is Verb.UNCORDON for step in tail) else RETURN_STEPS


_STEPS: dict[Phase, Callable[[Playbook], tuple[Step, ...]]] = {
    Phase.AUTOMATIC: lambda playbook: playbook.steps,
    Phase.HAND_OVER: lambda playbook: playbook.hand_over,
    Phase.RETURNING: return_steps,
    Phase.RELEASING: lambda _: RELEASE_STEPS,
}
