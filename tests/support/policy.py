"""Runs the pure policy over a log in memory: say what happens, let time pass, see what is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.incident import Incident
from controller.policy.playbook import Answers, Mode, Playbook, Step, Verb
from controller.policy.rules import Budget, Rules
from wire.messages import NodeFacts

START = 1_000_000.0


def steps(*verbs: Verb) -> tuple[Step, ...]:
    """Return plain steps of these verbs with generous limits."""
    waits = {Verb.WAIT, Verb.PROBATION}
    return tuple(Step(v, v, limit_s=600.0, parameters={"for_s": "60"} if v in waits else {}) for v in verbs)


HAND_OVER_STEPS = steps(Verb.TICKET, Verb.PAGE)

GPU_LOST = Playbook(
    name="gpu_lost",
    summary="A GPU has fallen off the bus.",
    fault_class="gpu_lost",
    severity="critical",
    precedence=10,
    answers=(Answers("gpu.xid", frozenset({"79"})),),
    steps=steps(Verb.CORDON, Verb.DRAIN, Verb.REBOOT, Verb.VERIFY, Verb.PROBATION, Verb.UNCORDON),
    hand_over=HAND_OVER_STEPS,
)
GPU_MEMORY = Playbook(
    name="gpu_memory",
    summary="GPU memory needs a reset.",
    fault_class="gpu_memory",
    severity="warning",
    precedence=30,
    answers=(Answers("gpu.xid", frozenset({"48", "94", "95"}), frozenset({Verdict.FAILED, Verdict.DEGRADED})),),
    steps=(
        *steps(Verb.CORDON, Verb.DRAIN),
        Step("reset_gpu", Verb.RESET_GPU, 60.0, on_failure="reboot"),
        Step("verify", Verb.VERIFY, 300.0, on_success="probation", on_failure="reboot"),
        Step("reboot", Verb.REBOOT, 1800.0),
        Step("verify_again", Verb.VERIFY, 300.0),
        Step("probation", Verb.PROBATION, 60.0, parameters={"for_s": "60"}),
        Step("uncordon", Verb.UNCORDON, 60.0),
    ),
    hand_over=HAND_OVER_STEPS,
)
AGENT_LOST = Playbook(
    name="agent_lost",
    summary="The agent is lost.",
    fault_class="agent_lost",
    severity="warning",
    precedence=90,
    answers=(Answers("agent.presence"),),
    steps=steps(Verb.WAIT),
    hand_over=HAND_OVER_STEPS,
    drain_needed=False,
)


NODE_LOST = replace(
    GPU_LOST, name="node_lost", fault_class="node_lost", answers=(Answers("node.presence"),), precedence=5
)


def xid(code: str, *, device: str = "GPU-0", verdict: Verdict = Verdict.FAILED) -> Finding:
    """Return an Xid finding."""
    return Finding("gpu.xid", device, code, verdict, Action.REBOOT, f"Xid {code} on {device}.")


@dataclass(slots=True)
class PolicyRun:
    """A cell without a shell."""

    rules: Rules = field(
        default_factory=lambda: Rules(
            (GPU_LOST, GPU_MEMORY, AGENT_LOST), Budget(nodes=2), breakers=(), domains=(), agent_lost_after_s=30.0
        )
    )
    now: float = START
    belief: Belief = field(default_factory=Belief)
    log: list[events.Logged] = field(default_factory=list)

    def nodes(self, *names: str, simulated: bool = False) -> PolicyRun:
        """Make nodes known and online."""
        for name in names:
            self.say(
                events.NodeSeen(name, "boot-1", NodeFacts(simulated=simulated)),
                events.PresenceChanged(name, "online", "the agent connected"),
            )
        return self

    def believe(self, event: events.Event) -> None:
        """Put one event into the log."""
        entry = events.Logged(len(self.log) + 1, self.now, event)
        self.log.append(entry)
        folding.apply(self.belief, entry)

    def say(self, *said: events.Event) -> list[events.Event]:
        """Let events happen; return what was decided."""
        for event in said:
            self.believe(event)
        return self.decide()

    def decide(self) -> list[events.Event]:
        """Decide until nothing is left to decide."""
        decided: list[events.Event] = []
        while decisions := list(self._pass()):
            decided += decisions
            assert len(decided) < 1000, f"the policy does not come to rest: {decided[-1]!r}"
        return decided

    def _pass(self) -> Iterator[events.Event]:
        for event in decide(self.belief, self.rules, self.now):
            self.believe(event)
            yield event

    def wait(self, seconds: float) -> list[events.Event]:
        """Let time pass; return what was decided then."""
        self.now += seconds
        return self.decide()

    def raise_on(self, node: str, finding: Finding) -> list[events.Event]:
        """A node finds something."""
        return self.say(events.FindingRaised(node, "boot-1", finding, self.now))

    def clear_on(self, node: str, finding: Finding) -> list[events.Event]:
        """A node finds it gone."""
        self.now += 0.001
        return self.say(events.FindingCleared(node, finding.key, "healthy again", self.now))

    def under_way(self, node: str = "") -> list[events.StepIntended]:
        """Return the steps that were intended and have not ended."""
        intents = [i.intent for i in self.belief.open_incidents.values() if i.intent is not None]
        return [intent for intent in intents if node in {"", intent.node}]

    def end(self, intent: events.StepIntended, outcome: str = "done", because: str = "so") -> list[events.Event]:
        """An effect ended."""
        self.now += 0.001
        return self.say(events.StepEnded(intent.incident_id, intent.step, intent.attempt, outcome, because, intent.key))

    def order_ended(self, intent: events.StepIntended, outcome: str = "done") -> list[events.Event]:
        """A node says how an order ended; verifications saw every check they asked for."""
        self.now += 0.001
        seen = {check: "ok" for check in intent.parameters.get("checks", "").split(",") if check}
        return self.say(events.OrderEnded(intent.node, intent.key, outcome, "so", self.now, self.now, seen))

    def rebooted(self, node: str) -> list[events.Event]:
        """A node came back with another boot id."""
        self.now += 60.0
        before = self.belief.nodes[node].boot_id
        after = f"boot-{int(before.removeprefix('boot-') or 1) + 1}"
        return self.say(events.AgentStarted(node, after, before, True, "1", self.now))

    def restarted(self, node: str) -> list[events.Event]:
        """The agent of a node started again on the same boot."""
        boot = self.belief.nodes[node].boot_id
        return self.say(events.AgentStarted(node, boot, boot, False, "1", self.now))

    def incident(self, number: int = 0) -> Incident:
        """Return an incident by its order of opening."""
        return list(self.belief.incidents.values())[number]

    def verbs(self, node: str) -> list[str]:
        """Return the verbs intended for a node, in order."""
        return [e.event.verb for e in self.log if isinstance(e.event, events.StepIntended) and e.event.node == node]


def playbook(name: str, *verbs: Verb, mode: Mode = Mode.ACT, code: str = "79") -> Playbook:
    """Return a small playbook that answers one Xid."""
    return Playbook(
        name=name,
        summary=name,
        fault_class=name,
        severity="critical",
        precedence=10,
        answers=(Answers("gpu.xid", frozenset({code})),),
        steps=steps(*verbs),
        hand_over=HAND_OVER_STEPS,
        mode=mode,
    )
