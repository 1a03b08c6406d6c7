"""What the pages and routes for running a cell show: budgets, playbooks, and who did what."""

from __future__ import annotations

import msgspec

from controller.api.shapes import IncidentRow, RolloutShown, TimelineEntry


class BudgetRow(msgspec.Struct, frozen=True):
    """One scope in which only so many nodes may be out at once.

    Attributes:
        scope: as people write it, e.g. `rack=r12`.
        limit: how many may be out; `text` says how that comes about.
        held: names of nodes that are out, at most twenty; `out` counts them all.
        nodes: how many there are in the scope.
        because: why there is this limit, as the settings say.
    """

    scope: str
    limit: int
    text: str
    out: int
    nodes: int
    held: list[str]
    because: str


class BreakerRow(msgspec.Struct, frozen=True):
    """One scope in which only so many nodes may be taken out within a window.

    Attributes:
        state: `closed`, `open`, or `half_open`: one canary goes first.
        taken: nodes that were taken out within the window.
        incident_id: of an open breaker, null when it is closed.
        canary: the incident that goes first, empty while there is none.
        closes: what closes an open breaker, in words.
    """

    scope: str
    state: str
    taken: int
    limit: int
    window_s: float
    cooldown_s: float
    incident_id: str | None
    canary: str
    because: str
    closes: str


class PauseRow(msgspec.Struct, frozen=True):
    """A scope in which nothing disruptive is begun, and who said so."""

    scope: str
    by: str


class FreezeRow(msgspec.Struct, frozen=True):
    """A time in which nothing disruptive is begun in a scope."""

    scope: str
    because: str
    when: str
    in_force: bool


class WaitingRow(msgspec.Struct, frozen=True):
    """An incident that waits. `for_what`: budget, breaker, pause, freeze, approval, ...; `next`: what it waits for."""

    incident: IncidentRow
    for_what: str
    since: str | None
    next: str


class BudgetsShown(msgspec.Struct, frozen=True):
    """All that holds plans back. `more_waiting`: how many incidents wait besides those that are listed."""

    budgets: list[BudgetRow]
    breakers: list[BreakerRow]
    pauses: list[PauseRow]
    freezes: list[FreezeRow]
    waiting: list[WaitingRow]
    more_waiting: int


class PlaybookRow(msgspec.Struct, frozen=True):
    """One playbook.

    Attributes:
        mode: how far it may go by itself on a node of no pool; `mode_because` says who says so.
        open, ended: its incidents that are open, and of those that are kept in memory how many ended how.
        tried: a changed text of it is tried.
    """

    name: str
    summary: str
    fault_class: str
    severity: str
    precedence: int
    mode: str
    mode_because: str
    open: int
    ended: dict[str, int]
    tried: bool


class AnswersShown(msgspec.Struct, frozen=True):
    """Findings that a playbook answers; an empty list stands for all."""

    check: str
    codes: list[str]
    verdicts: list[str]
    actions: list[str]


class StepShown(msgspec.Struct, frozen=True):
    """One step. `on_success`: empty goes on with the next one; `on_failure`: `hand_over` or a later step."""

    name: str
    verb: str
    limit_s: float
    attempts: int
    on_success: str
    on_failure: str
    parameters: dict[str, str]


class ModeShown(msgspec.Struct, frozen=True):
    """How far a playbook may go by itself on nodes of a pool, and who says so."""

    pool: str
    mode: str
    because: str


class PlaybookDetail(msgspec.Struct, frozen=True):
    """One playbook with all that it says. `confirm_s`: how long a finding stands before an incident opens."""

    row: PlaybookRow
    digest: str
    source: str
    runbook: str
    runbook_url: str
    answers: list[AnswersShown]
    steps: list[StepShown]
    hand_over: list[StepShown]
    confirm_s: float
    max_at_once: int
    drain_needed: bool
    reversible: bool
    on_return: str
    clears: str
    modes: list[ModeShown]
    rollout: RolloutShown | None
    incidents: list[IncidentRow]


class AuditEntry(msgspec.Struct, frozen=True):
    """One act of a person, or one decision.

    Attributes:
        by: who acted; empty for a decision of fleetmend's.
        verb: what was done, e.g. `approve`, `drill` or `bench.asked`; of a decision the last word of its kind, e.g.
            `intended`.
    """

    entry: TimelineEntry
    by: str
    verb: str


class AuditPage(msgspec.Struct, frozen=True):
    """A page of acts and decisions, newest first.

    Attributes:
        before: ask with this for the next page, null when the log has nothing older.
        looked_through: the oldest entry of the log that was looked at; a filter may find nothing in a stretch of it.
    """

    entries: list[AuditEntry]
    before: int | None
    looked_through: int
