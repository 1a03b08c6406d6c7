"""The other side of tickets and pages for the pure policy: destinations that take, refuse, close and acknowledge."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller import events
from controller.notice_events import NoticeClosed, NoticeFailed, NoticeFiled, NoticeHeard, NoticeTold
from controller.policy.noticing.due import Act, Due, due
from controller.policy.noticing.filing import Addressed, filing_of
from controller.policy.noticing.routing import DestinationRule, NoticeRules
from controller.policy.noticing.subjects import team_of
from tests.support.policy import PolicyRun

RULES = NoticeRules(
    tickets=(DestinationRule("jira"),),
    pages=(
        DestinationRule("duty", escalate_to="boss", escalate_after_s=900.0),
        DestinationRule("chat"),
        DestinationRule("boss", escalation_only=True),
    ),
)


@dataclass(slots=True)
class Letterbox:
    """Carries out what steps and the policy ask for, as often as it is told to.

    Attributes:
        there: destination → reference → subject of what is open there.
        done: destination and key of everything that was carried out or given up.
    """

    run: PolicyRun
    rules: NoticeRules = RULES
    there: dict[str, dict[str, str]] = field(default_factory=dict)
    done: list[tuple[str, str]] = field(default_factory=list)
    made: list[NoticeFiled] = field(default_factory=list)

    def due(self) -> list[Due]:
        """Return what is due now."""
        return list(due(self.run.belief, self.rules, self.run.now))

    def step(self, intent: events.StepIntended, outcome: str = "done") -> None:
        """File the notice of a step at each of its destinations, or have them not take it; then the step ends."""
        incident = self.run.belief.incidents[intent.incident_id]
        team = team_of(incident, intent.parameters)
        for rule in self.rules.routed(intent.verb, team, intent.parameters.get("severity", incident.playbook.severity)):
            if self.run.belief.notices.filed(incident.id, intent.verb, rule.name) is None:
                self.file(incident.id, intent.verb, rule.name, intent.key, outcome=outcome, step=intent.step)
        self.run.end(intent, "done")

    def file(self, incident_id: str, kind: str, name: str, key: str, **how: str) -> None:
        """Have a destination take a notice, or not."""
        outcome = how.get("outcome", "done")
        if outcome != "done":
            retry_at = self.run.now + 30.0 if outcome == "retry" else 0.0
            step = how.get("step", "")
            self.run.say(NoticeFailed(incident_id, kind, name, "", key, "filed", outcome, "so", 1, retry_at, step))
            return
        incident = self.run.belief.incidents[incident_id]
        team = team_of(incident, {})
        addressed = Addressed(incident, kind, name, team)
        filing = filing_of(self.run.belief, self.rules.storm, addressed, under_way=(), now=self.run.now)
        here = self.there.setdefault(name, {})
        if filing.joins is not None:
            reference, subject = filing.joins.reference, filing.joins.subject
        else:
            reference, subject = f"{name}-{len(self.made) + 1}", filing.subject
            here[reference] = subject
        filed = NoticeFiled(
            *(incident_id, kind, name, reference, "", subject, key, f"{incident_id} too.", "title", team, "critical"),
            joined=filing.joins is not None,
            group=filing.joins.group if filing.joins is not None else filing.group,
            follows=filing.follows,
            escalates=how.get("escalates", ""),
        )
        self.made.append(filed)
        self.run.say(filed)

    def carry_out(self, each: Due, outcome: str = "done") -> None:
        """Do one thing that is due, or fail."""
        if outcome != "retry":
            assert (each.destination, each.key) not in self.done, f"{each.key} is due a second time"
        if each.act in {Act.FILE, Act.ESCALATE}:
            step = Act.ESCALATE if each.act is Act.ESCALATE else each.step
            self.file(
                *(each.incident_id, each.kind, each.destination, each.key),
                outcome=outcome,
                step=step,
                escalates=each.escalates,
            )
            self.done += [(each.destination, each.key)] if outcome != "retry" else []
            return
        which = (each.incident_id, each.kind, each.destination, each.reference, each.key)
        if outcome != "done":
            what = "closed" if each.act is Act.CLOSE else "told"
            retry_at = self.run.now + 30.0 if outcome == "retry" else 0.0
            self.run.say(NoticeFailed(*which, what, outcome, "so", 1, retry_at, through=each.through))
            self.done += [(each.destination, each.key)] if outcome != "retry" else []
            return
        self.done.append((each.destination, each.key))
        if each.act is Act.CLOSE:
            self.there[each.destination].pop(each.reference, None)
            self.run.say(NoticeClosed(*which, each.news))
            return
        thread = self.run.belief.notices.threads[f"{each.kind} {each.destination} {each.reference}"]
        self.there[each.destination][each.reference] = thread.subject
        acknowledged = each.act is Act.ACKNOWLEDGE
        self.run.say(NoticeTold(*which, each.news, each.through, each.members, acknowledged=acknowledged))

    def carry_out_all(self) -> list[Due]:
        """Do all that is due, and what is due then, until nothing is; return it."""
        done: list[Due] = []
        while now := self.due():
            for each in now:
                self.carry_out(each)
            done += now
            assert len(done) < 500, f"it does not come to rest: {done[-1]}"
        return done

    def hear(self, number: int, state: str) -> None:
        """Have one open notice stand otherwise on the other side, by a person's hand."""
        book = self.run.belief.notices
        threads = [book.threads[each] for each in book.open_threads]
        if not threads:
            return
        thread = threads[number % len(threads)]
        if thread.heard == state:
            return
        if state in {"closed", "gone"}:
            self.there[thread.destination].pop(thread.reference, None)
        self.run.say(
            NoticeHeard(thread.current, thread.kind, thread.destination, thread.reference, state, "ann", "swapped it")
        )

    def mail(self, which: int = 0) -> events.StepIntended | None:
        """Return a ticket or page step that is under way."""
        found = [intent for intent in self.run.under_way() if intent.verb in {"ticket", "page"}]
        return found[which % len(found)] if found else None
