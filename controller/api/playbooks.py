"""The playbooks that answer now, how far each may go by itself, and what came of its incidents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice

from controller.api import rows
from controller.api.call import Call
from controller.api.ops_shapes import AnswersShown, ModeShown, PlaybookDetail, PlaybookRow, StepShown
from controller.api.problems import unknown
from controller.manual import address_of
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.modes import mode_of
from controller.policy.places import POOL
from controller.policy.playbook import Answers, Playbook, Step
from controller.policy.rules import Rules

RECENT_INCIDENTS = 20


async def playbooks(call: Call) -> list[PlaybookRow]:
    """Return every playbook, in the order in which they answer."""
    belief, rules = call.cell.belief, call.cell.rules
    ended, still_open = _counts(belief)
    books = sorted(rules.playbooks, key=lambda book: (book.precedence, book.name))
    return [_row(belief, rules, book, ended.get(book.name, {}), still_open[book.name]) for book in books]


async def playbook(call: Call) -> PlaybookDetail:
    """Return one playbook with all that it says.

    Raises:
        Problem: 404, none has this name.
    """
    name = call.path["name"]
    book = next((book for book in call.cell.rules.playbooks if book.name == name), None)
    if book is None:
        raise unknown("playbook", name, [book.name for book in call.cell.rules.playbooks])
    return _detail(call.cell.belief, call.cell.rules, book)


def _counts(belief: Belief) -> tuple[Mapping[str, Counter[str]], Counter[str]]:
    ended: dict[str, Counter[str]] = {}
    still_open: Counter[str] = Counter()
    for incident in belief.incidents.values():
        if incident.closed_at:
            ended.setdefault(incident.playbook.name, Counter())[incident.outcome] += 1
        else:
            still_open[incident.playbook.name] += 1
    return ended, still_open


def _row(belief: Belief, rules: Rules, book: Playbook, ended: Mapping[str, int], still_open: int) -> PlaybookRow:
    mode, because = mode_of(belief, rules, book, "")
    return PlaybookRow(
        book.name,
        book.summary,
        book.fault_class,
        book.severity,
        book.precedence,
        mode,
        because,
        still_open,
        dict(ended),
        book.name in belief.rollouts.changed,
    )


def _detail(belief: Belief, rules: Rules, book: Playbook) -> PlaybookDetail:
    ended, still_open = _counts(belief)
    mine = (incident for incident in reversed(belief.incidents.values()) if incident.playbook.name == book.name)
    recent: list[Incident] = list(islice(mine, RECENT_INCIDENTS))
    tried = book.name in belief.rollouts.changed
    return PlaybookDetail(
        _row(belief, rules, book, ended.get(book.name, {}), still_open[book.name]),
        book.digest,
        book.source,
        book.runbook,
        address_of(book.runbook),
        [_answers(line) for line in book.answers],
        [_step(step) for step in book.steps],
        [_step(step) for step in book.hand_over],
        book.confirm_s,
        book.max_at_once,
        book.drain_needed,
        book.reversible,
        book.on_return,
        book.clears,
        _modes(belief, rules, book),
        rows.rollout_shown(belief, rules, book.name) if tried else None,
        [rows.incident_row(incident) for incident in recent],
    )


def _answers(line: Answers) -> AnswersShown:
    return AnswersShown(line.check, sorted(line.codes), sorted(line.verdicts), sorted(line.actions))


def _step(step: Step) -> StepShown:
    return StepShown(
        step.name, step.verb, step.limit_s, step.attempts, step.on_success, step.on_failure, dict(step.parameters)
    )


def _modes(belief: Belief, rules: Rules, book: Playbook) -> list[ModeShown]:
    """Return the mode in every pool that settings speak of, by one node of it."""
    found = []
    for kind, pool in sorted(belief.residents):
        if kind == POOL and any(pool in key for key in rules.modes):
            node = min(belief.residents[(kind, pool)], default="")
            mode, because = mode_of(belief, rules, book, node)
            found.append(ModeShown(pool, mode, because))
    return found
