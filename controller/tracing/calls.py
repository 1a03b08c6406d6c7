"""One try of an effect, as the engine saw it, and the spans of it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.events import StepIntended
from controller.policy.playbook import BY_SCHEDULER, ORDERS, Verb
from controller.tracing import words
from controller.tracing.arriving import published
from controller.tracing.scene import SCHEDULER, Piece, Scene
from controller.tracing.span import Kind, Span, Value
from wire.topics import Channel, template

BY_ITS_SCHEDULER = frozenset({Verb.CORDON, Verb.DRAIN, Verb.UNCORDON})
NOTICES = frozenset({Verb.TICKET, Verb.PAGE})


@dataclass(frozen=True, slots=True)
class Peers:
    """What the outside things are called that steps call. Each notice of a step is an errand, and names its own."""

    scheduler: str
    power: str = ""


@dataclass(slots=True)
class Ended:
    """How a call went: as in `Call`."""

    began: float
    ended: float = 0.0
    because: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """A call of an outside thing on account of an incident that is no step, or one of several that a step makes.

    Attributes:
        name: what is done, in a few words that do not differ from incident to incident: `file ticket`.
        peer: whom it is done with.
        key: which one of its name it is.
    """

    incident_id: str
    name: str
    peer: str
    key: str


@dataclass(frozen=True, slots=True)
class Call:
    """One try of a step's effect.

    Attributes:
        began, ended: Unix seconds.
        because: what came of it, empty when it goes on elsewhere.
        error: the kind of failure, empty when it did not fail.
        after: the last entry of the log that was heard before it ended.
    """

    intent: StepIntended
    began: float
    ended: float = 0.0
    because: str = ""
    error: str = ""
    after: int = 0

    @property
    def key(self) -> str:
        """Which span of its trace it is: a step may be tried often, by one controller after the other."""
        return f"call/{self.intent.key}/{round(self.began * 1_000_000)}"

    @property
    def is_order(self) -> bool:
        """Whether it asks the node itself."""
        return Verb(self.intent.verb) in ORDERS and not self.is_by_scheduler

    @property
    def is_by_scheduler(self) -> bool:
        """Whether it asks the scheduler."""
        verb = Verb(self.intent.verb)
        return verb in BY_ITS_SCHEDULER or (verb is Verb.REBOOT and self.intent.parameters.get("by") == BY_SCHEDULER)


def call_spans(scene: Scene, call: Call, peers: Peers) -> list[Span]:
    """Return the spans of a try. Of a scheduler that is called it shows what its caller saw: it has no traces of its
    own, or none that are known here."""
    intent = call.intent
    said = {**scene.node(intent.node), words.VERB: intent.verb, words.ATTEMPT: intent.attempt}
    if call.because:
        said[words.BECAUSE] = call.because
    if call.error:
        said[words.ERROR_TYPE] = call.error
    if call.is_order:
        name, kind = f"publish {template(Channel.ORDER)}", Kind.PRODUCER
        attributes = {**said, **published(scene, intent.node, intent.key)}
    elif Verb(intent.verb) in NOTICES:
        name, kind, attributes = f"call {intent.verb}", Kind.INTERNAL, said
    else:
        peer = peers.scheduler if call.is_by_scheduler else peers.power
        name, kind, attributes = f"call {intent.verb}", Kind.CLIENT, {**said, words.PEER: peer}
    problem = call.because if call.error else ""
    during, step = (call.began, call.ended), scene.id_of(step_key(intent))
    made = scene.span(Piece(name, call.key, kind=kind, attributes=attributes, problem=problem), step, during)
    return [made, *(_seen_by_scheduler(scene, call, made, peers.scheduler) if call.is_by_scheduler else ())]


def errand_span(scene: Scene, errand: Errand, key: str, parent_id: str, call: Ended) -> Span:
    """Return the span of an errand."""
    said: dict[str, Value] = {words.PEER: errand.peer}
    if call.error:
        said |= {words.ERROR_TYPE: call.error, words.BECAUSE: call.because}
    during, problem = (call.began, call.ended), call.because if call.error else ""
    return scene.span(Piece(errand.name, key, kind=Kind.CLIENT, attributes=said, problem=problem), parent_id, during)


def step_key(intent: StepIntended) -> str:
    """Return which span of its trace a step is."""
    return f"step/{intent.key}"


def _seen_by_scheduler(scene: Scene, call: Call, made: Span, name: str) -> list[Span]:
    attributes: dict[str, Value] = {**scene.node(call.intent.node), "fleetmend.scheduler": name}
    during = (made.began, made.ended)
    title, key = f"{name} {call.intent.verb}", f"{call.key}/served"
    return [
        scene.span(
            Piece(title, key, source=SCHEDULER, kind=Kind.SERVER, attributes=attributes, problem=made.problem),
            made.span_id,
            during,
        )
    ]
