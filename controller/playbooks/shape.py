"""A tree of YAML values to a `Playbook`, noting everything that is not as it must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from checks.finding import Action, Verdict
from controller.playbooks.document import Entry, Listing, Table, Value, say
from controller.playbooks.kinds import (
    SPAN,
    TEXT,
    TRUTH,
    WORD,
    Key,
    Keys,
    Kind,
    count,
    join,
    list_of,
    matching,
    one_of,
    read_table,
)
from controller.playbooks.problems import Notes, nearest
from controller.playbooks.verbs import MARGIN_S, RETRY_KEYS, SEVERITIES, VERBS
from controller.policy.playbook import HAND_OVER, Answers, Clears, Mode, OnReturn, Playbook, Retry, Step, Verb
from controller.policy.verb_effects import effect_of

MAX_STEPS = 40
"""Source: our choice; the longest ladder there is has eleven."""

ANSWERED_VERDICTS = (Verdict.DEGRADED, Verdict.FAILED)
"""`unknown` never causes an action, and `ok` needs none (I1)."""

_CODE = matching(re.compile(r"[A-Za-z0-9_.:-]{0,64}"), 'write a code as text; put numbers in quotes, like "79"')
_CHECK = matching(re.compile(r"[a-z][a-z0-9_]*\.([a-z][a-z0-9_]*|\*)"), "write the id of a check, like gpu.xid")
_LIST = Kind("write a list", lambda value: value if isinstance(value, Listing) and value.values else None, {})
_TABLE = Kind("write a mapping", lambda value: value if isinstance(value, Table) else None, {})
_RUNBOOK = matching(re.compile(r"[A-Za-z0-9_./:-]{1,200}"), "write a path or an address without spaces")

PLAYBOOK_KEYS: Keys = {
    "playbook": Key(WORD, "the playbook's name, which is also the name of its file", required=True),
    "summary": Key(TEXT, "what has happened, in one sentence for tickets and pages", required=True),
    "fault_class": Key(WORD, "what its incidents are called", required=True),
    "severity": Key(one_of(SEVERITIES), "how bad the fault is; the worst gets what is scarce first", required=True),
    "precedence": Key(count(1, 1000), "of several playbooks that answer one device, the lowest acts", required=True),
    "mode": Key(
        one_of(list(Mode)), "`shadow` records only, `ask` waits for approval first, `act` goes ahead", False, "act"
    ),
    "confirm": Key(SPAN, "how long a finding must have stood before an incident opens", default=0.0),
    "on_return": Key(
        one_of(list(OnReturn)),
        "when the fault is back on the same part although its repair was verified: `escalate` takes the next rung of "
        "the ladder, `rma` hands over to people with what is needed to send the part back",
        False,
        "escalate",
    ),
    "clears": Key(
        one_of(list(Clears)),
        "who may say that the fault is over: a `verification` that passes, or only a `person` (or another part)",
        False,
        "verification",
    ),
    "runbook": Key(_RUNBOOK, "the page for people", default=""),
    "answers": Key(_LIST, "which findings it answers", required=True),
    "guards": Key(_TABLE, "what holds it back"),
    "steps": Key(_LIST, "the automatic part, in order", required=True),
    "hand_over": Key(_LIST, "what people are told when the automatic part gives up", required=True),
}
ANSWER_KEYS: Keys = {
    "check": Key(_CHECK, "id of the check", required=True),
    "codes": Key(list_of(_CODE, "write a list of different codes, each as text in quotes"), "every code when absent"),
    "verdicts": Key(
        list_of(one_of(list(map(str, ANSWERED_VERDICTS))), "write a list out of degraded and failed"),
        "only failed when absent",
    ),
    "actions": Key(
        list_of(one_of(list(map(str, Action))), f"write a list out of {', '.join(Action)}"),
        "which suggested actions; every action when absent",
    ),
}
GUARD_KEYS: Keys = {
    "drain": Key(one_of(["needed", "not_needed"]), "whether jobs must be gone before a repair", default="needed"),
    "reversible": Key(TRUTH, "whether all before a repair can be undone; if not, a person is asked", default=True),
    "max_at_once": Key(
        count(0, 100_000), "how many nodes this playbook may hold out at once, 0 for no own limit", False, 0
    ),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A playbook with the lines it came from, for the errors found later. `lines`: path → line."""

    playbook: Playbook
    file: str
    lines: Mapping[str, int]


def read_playbook(value: Value, notes: Notes, *, digest: str) -> Draft | None:
    """Return the playbook; `None` when it is not whole, with the reasons in the notes."""
    before = len(notes.problems)
    table = read_table(value, PLAYBOOK_KEYS, path="", notes=notes)
    if table is None or not isinstance(value, Table):
        return None
    answers = _answers(table["answers"], notes)
    guards = _guards(table["guards"], notes)
    steps = _steps(table["steps"], "steps", notes)
    hand_over = _steps(table["hand_over"], HAND_OVER, notes)
    if len(notes.problems) > before:
        return None
    playbook = Playbook(
        name=table["playbook"],
        summary=table["summary"],
        fault_class=table["fault_class"],
        severity=table["severity"],
        precedence=table["precedence"],
        answers=answers,
        steps=steps,
        hand_over=hand_over,
        mode=Mode(table["mode"]),
        confirm_s=table["confirm"],
        max_at_once=guards["max_at_once"],
        drain_needed=guards["drain"] == "needed",
        reversible=guards["reversible"],
        digest=digest,
        source=PurePath(notes.file).name,
        runbook=table["runbook"],
        on_return=OnReturn(table["on_return"]),
        clears=Clears(table["clears"]),
    )
    return Draft(playbook, notes.file, lines_of(value))


def lines_of(value: Value, path: str = "") -> dict[str, int]:
    """Return the line of every key and list item under a value."""
    lines = {path: value.line}
    if isinstance(value, Table):
        for entry in value.entries:
            lines |= lines_of(entry.value, join(path, entry.key)) | {join(path, entry.key): entry.line}
    if isinstance(value, Listing):
        for index, each in enumerate(value.values):
            lines |= lines_of(each, f"{path}[{index}]")
    return lines


def _guards(value: Value | None, notes: Notes) -> dict[str, Any]:
    given = read_table(value, GUARD_KEYS, path="guards", notes=notes) if value is not None else None
    return given or {name: key.default for name, key in GUARD_KEYS.items()}


def _answers(value: Listing | None, notes: Notes) -> tuple[Answers, ...]:
    found = []
    for index, each in enumerate(value.values if value else ()):
        table = read_table(each, ANSWER_KEYS, path=f"answers[{index}]", notes=notes)
        if table is not None and table["check"] is not None:
            found.append(_answer(table))
    return tuple(found)


def _answer(table: Mapping[str, Any]) -> Answers:
    verdicts = table["verdicts"] or (Verdict.FAILED,)
    return Answers(
        table["check"],
        codes=frozenset(table["codes"] or ()),
        verdicts=frozenset(map(Verdict, verdicts)),
        actions=frozenset(table["actions"] or ()),
    )


def _steps(value: Listing | None, path: str, notes: Notes) -> tuple[Step, ...]:
    values = value.values if value else ()
    if len(values) > MAX_STEPS:
        notes.add(values[MAX_STEPS].line, path, f"{len(values)} steps", f"write at most {MAX_STEPS}")
        return ()
    drafts = [_step(each, f"{path}[{index}]", notes, jumps=path == "steps") for index, each in enumerate(values)]
    steps = [step for step in drafts if step is not None]
    following = [*(step.name for step in steps[1:]), HAND_OVER]
    return tuple(_go_on(step, after) for step, after in zip(steps, following, strict=False))


def _step(value: Value, path: str, notes: Notes, *, jumps: bool) -> Step | None:
    entry = _verb_entry(value, path, notes)
    if entry is None:
        return None
    verb = Verb(entry.key)
    table = read_table(entry.value, VERBS[verb].keys(jumps=jumps), path=f"{path}.{verb}", notes=notes)
    if table is None:
        return None
    step = _built(verb, table)
    if step.retry is not None and step.retry.at_most_s < step.retry.after_s:
        wrong = f"{step.retry.at_most_s:g} s is less than retry_after"
        notes.add(entry.line, join(f"{path}.{verb}", "retry_at_most"), wrong, "write the longest wait, or leave it out")
    return step


def _verb_entry(value: Value, path: str, notes: Notes) -> Entry | None:
    if not isinstance(value, Table) or len(value.entries) != 1:
        wrong = say(value) if not isinstance(value, Table) else f"it has {len(value.entries)} keys"
        notes.add(value.line, path, wrong, "write one verb with its parameters, like `cordon: {}`")
        return None
    entry = value.entries[0]
    if entry.key not in Verb.__members__.values():
        notes.add(entry.line, join(path, entry.key), "this verb is not known", nearest(entry.key, Verb))
        return None
    return entry


def _built(verb: Verb, table: Mapping[str, Any]) -> Step:
    shape = VERBS[verb]
    own = {name: table[name] for name in shape.own_keys if table[name] is not None}
    lasts_s = own.pop("for", None)
    parameters = {
        **{name: _parameter(value) for name, value in own.items()},
        **({"for_s": f"{lasts_s:.15g}"} if lasts_s is not None else {}),
    }
    return Step(
        name=table["name"] or verb.value,
        verb=verb,
        limit_s=table["limit"] if shape.limit_s else (lasts_s or 0.0) + MARGIN_S,
        on_success=table.get("on_success") or "",
        on_failure=table.get("on_failure") or ("" if shape.best_effort else HAND_OVER),
        attempts=table["attempts"],
        parameters=parameters,
        retry=_retry(verb, table),
    )


def _parameter(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _retry(verb: Verb, table: Mapping[str, Any]) -> Retry | None:
    """Return what the step says of its attempts, with the verb's own for what it leaves out; `None` for no word."""
    if not any(table[key] for key in RETRY_KEYS):
        return None
    usual = effect_of(verb).retry
    after_s = table["retry_after"] or usual.after_s
    at_most_s = table["retry_at_most"] or max(after_s, usual.at_most_s)
    return Retry(after_s, float(table["back_off"] or usual.factor), at_most_s)


def _go_on(step: Step, after: str) -> Step:
    """Return the step with its failure leading to the next one where nothing else is said (best effort)."""
    if step.on_failure:
        return step
    return replace(step, on_failure=after)
