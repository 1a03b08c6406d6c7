"""A comparison, as a type: what `fleetmend replay --compare --json` prints, and what its page and its limits go by."""

from __future__ import annotations

import msgspec


class CordonRow(msgspec.Struct, frozen=True):
    """One cordon that one side made and the other did not, or made at another time.

    Attributes:
        at: Unix seconds; of a moved one, when history made it.
        incident_id: of the side that made it.
        because: why it was made.
        other_because: what the other side made of it.
        truth: right, false or unknown, with the sentence.
        later_s: of a moved one, how much later the candidate made it; negative is sooner.
        drawn: the candidate made it on a course that was drawn from the fault model.
    """

    node: str
    at: float
    incident_id: str
    playbook: str
    because: str
    other_because: str
    truth: str
    truth_because: str
    later_s: float = 0.0
    drawn: bool = False


class UnknownRow(msgspec.Struct, frozen=True):
    """A node's course that is unknown to the candidate, and why.

    Attributes:
        until: `None` up to the end of the log.
        drawn: class of fault by which it was drawn from the fault model, empty where it stays unknown.
    """

    node: str
    at: float
    until: float | None
    why: str
    drawn: str = ""


class Figures(msgspec.Struct, frozen=True):
    """What one side did and what that cost.

    Attributes:
        false_cordons, right_cordons: of the cordons, those of which that is known.
        missed_fault_node_hours: nodes in service while a finding that is `failed` stood.
    """

    cordons: int
    false_cordons: int
    right_cordons: int
    node_hours_out: float
    gpu_hours_out: float
    missed_fault_node_hours: float
    tickets: int
    pages: int


class Comparison(msgspec.Struct, frozen=True):
    """History and candidate.

    Attributes:
        rules: digest of the candidate's; `history_rules`: of those that decided last in the log.
        history, candidate: where both can be held to each other.
        not_compared: what history did to nodes while their course was unknown to the candidate.
        drawn: what the candidate did to those nodes in the fault model, `None` when nothing was drawn; `seed`: of that.
        unknown_node_hours, unknown_gpu_hours: of those nodes for which nothing was drawn; the candidate
            may have had them out for none of it, or all.
        same_cordons: made by both at the same moment.
    """

    entries: int
    first_at: float
    last_at: float
    rules: str
    history_rules: str
    history: Figures
    candidate: Figures
    not_compared: Figures
    drawn: Figures | None
    seed: int | None
    unknown_node_hours: float
    unknown_gpu_hours: float
    same_cordons: int
    added: list[CordonRow]
    avoided: list[CordonRow]
    moved: list[CordonRow]
    unknown: list[UnknownRow]
