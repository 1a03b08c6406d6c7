"""Playbooks in plain English: for `fleetmend playbook show`, and as Markdown for the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controller.policy.playbook import (
    DEVICE,
    HAND_OVER,
    REPAIRS,
    Answers,
    Clears,
    Mode,
    OnReturn,
    Playbook,
    Retry,
    Step,
    Unmeasured,
    Verb,
)
from controller.policy.verb_effects import attempts_of

_MODES = {
    Mode.SHADOW: "it decides and records, and touches nothing",
    Mode.ASK: "it asks a person before its first step",
    Mode.ACT: "it acts by itself",
}


def render(playbook: Playbook) -> str:
    """Return a playbook as text for a terminal."""
    lines = [
        f"{playbook.name}: {playbook.summary}",
        "",
        *(f"  {line}" for line in _facts(playbook)),
        "",
        "Answers",
        *(f"  {say_answers(line)}" for line in playbook.answers),
        "",
        "Steps",
        *_columns(playbook.steps),
        "",
        "Hand-over to people",
        *(f"  - {say_step(step)}" for step in playbook.hand_over),
    ]
    return "\n".join(lines) + "\n"


def describe(playbook: Playbook) -> str:
    """Return a playbook as a section of Markdown."""
    lines = [
        f"## {playbook.name}",
        "",
        playbook.summary,
        "",
        *(f"- {line}" for line in _facts(playbook)),
        *(f"- Answers {say_answers(line)}." for line in playbook.answers),
        "",
        "| Step | What is done | At most | Then | If it fails |",
        "|---|---|---|---|---|",
        *(_row(step, after) for step, after in _with_next(playbook.steps)),
        "",
        f"Hand-over: {'; '.join(say_step(step) for step in playbook.hand_over)}.",
    ]
    return "\n".join(lines) + "\n"


def say_answers(line: Answers) -> str:
    """Return which findings a line answers."""
    codes = f" {', '.join(sorted(line.codes, key=_by_number))}" if line.codes else ", every code,"
    verdicts = " or ".join(sorted(line.verdicts))
    actions = f", where {' or '.join(sorted(line.actions))} is due" if line.actions else ""
    return f"{line.check}{codes} when {verdicts}{actions}"


def say_step(step: Step) -> str:
    """Return what a step does."""
    given = step.parameters
    words = {
        "service": "the service",
        **given,
        "jobs": _DRAINS.get(given.get("jobs", ""), ""),
        "where": ", those of the sick GPU alone" if given.get("scope") == DEVICE else "",
        "for": say_span(float(given.get("for_s", 0.0))),
    }
    return _SAYS[step.verb].format_map(words) + _REBOOTERS.get(given.get("by", ""), "") + _say_benchmarks(given)


def _say_benchmarks(given: Mapping[str, str]) -> str:
    """Return what a verification measures besides, and what follows when it cannot."""
    names = given.get("benchmarks", "").replace(",", ", ")
    if not names:
        return ""
    strict = given.get("unmeasured") == Unmeasured.HAND_OVER
    cannot = "people get it when they cannot be run" if strict else "go on without those that cannot be run here"
    return f", then by the benchmarks {names} of tier {given.get('tier', '1')}; {cannot}"


_SAYS = {
    Verb.CORDON: "let no new work onto the node",
    Verb.DRAIN: "{jobs}{where}",
    Verb.COLLECT: "gather evidence for the ticket",
    Verb.RESTART_SERVICE: "restart {service}",
    Verb.RESET_GPU: "reset the GPU",
    Verb.RELOAD_DRIVER: "unload the NVIDIA driver and load it again",
    Verb.REBOOT: "reboot the node",
    Verb.POWER_CYCLE: "switch the node off and on by its BMC",
    Verb.WAIT: "wait {for}",
    Verb.APPROVE: "ask a person: {question}",
    Verb.VERIFY: "verify on fresh readings that the fault is gone",
    Verb.PROBATION: "watch the idle node for {for}",
    Verb.UNCORDON: "give the node back to the scheduler",
    Verb.TICKET: "open a ticket for the {team} team",
    Verb.PAGE: "page the on-call engineer, severity {severity}",
}
_REBOOTERS = {"scheduler": " by the scheduler"}
_DRAINS = {
    "wait": "wait until the running jobs have ended",
    "requeue": "put the running jobs back into the queue",
    "cancel": "cancel the running jobs",
}


def say_span(seconds: float) -> str:
    """Return a span of time as people write it, e.g. `10 min`."""
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def _facts(playbook: Playbook) -> Iterator[str]:
    yield f"Fault class {playbook.fault_class}, severity {playbook.severity}, precedence {playbook.precedence}"
    yield f"Mode {playbook.mode}: {_MODES[playbook.mode]}"
    if playbook.confirm_s:
        yield f"A finding must have stood for {say_span(playbook.confirm_s)}"
    yield _say_reach(playbook)
    if not playbook.reversible:
        yield "It cannot be undone: a person is asked, unless the settings say `act` for it"
    yield from _say_history(playbook)
    if playbook.max_at_once:
        yield f"At most {playbook.max_at_once} nodes are held out by it at once"
    if playbook.runbook:
        yield f"Runbook {playbook.runbook}"


def _say_reach(playbook: Playbook) -> str:
    verbs = {step.verb for step in playbook.steps}
    if Verb.CORDON not in verbs:
        return "The node stays in service: people are told, nothing is done to it"
    if not verbs & REPAIRS:
        return "The node is taken out, nothing in it is changed"
    return "Jobs must be gone before a repair" if playbook.drain_needed else "No drain is needed before a repair"


def _say_history(playbook: Playbook) -> Iterator[str]:
    if playbook.on_return is OnReturn.RMA:
        yield "Back on the same part although its repair was verified: people get it, to send the part back"
    elif any(step.verb in REPAIRS for step in playbook.steps):
        yield "Back on the same part soon after a repair: that rung is left out, the next one is taken"
    if playbook.clears is Clears.PERSON:
        yield "No diagnosis clears it: only a person ends it, or another part"


def _columns(steps: Sequence[Step]) -> Iterator[str]:
    width = max((len(step.name) for step in steps), default=0)
    for number, (step, after) in enumerate(_with_next(steps), 1):
        details = "; ".join([*_limits(step), *_jumps(step, after)])
        yield f"  {number:>2}. {step.name:<{width}}  {say_step(step)}{f' ({details})' if details else ''}"
    yield "  A step that fails hands over to people, unless it says otherwise."


def _limits(step: Step) -> Iterator[str]:
    if "for_s" not in step.parameters:
        yield f"at most {say_span(step.limit_s)}"
    if attempts_of(step) > 1:
        yield f"{attempts_of(step)} attempts{_say_retry(step.retry)}"


def _say_retry(retry: Retry | None) -> str:
    if retry is None:
        return ""
    longer = f", each next {retry.factor:g} times as long" if retry.factor > 1 else ""
    return f" with {say_span(retry.after_s)} between{longer}, at most {say_span(retry.at_most_s)}"


def _jumps(step: Step, after: str) -> Iterator[str]:
    if step.on_success:
        yield f"then {_say_target(step.on_success)}"
    if step.on_failure == after and not step.on_success:
        yield "go on even if it fails"
    elif step.on_failure != HAND_OVER:
        yield f"if it fails, {_say_target(step.on_failure)}"


def _say_target(target: str) -> str:
    return "hand over to people" if target == HAND_OVER else f"go to {target}"


def _with_next(steps: Sequence[Step]) -> list[tuple[Step, str]]:
    return list(zip(steps, [*(step.name for step in steps[1:]), "the end"], strict=True))


def _row(step: Step, after: str) -> str:
    limits = ", ".join(_limits(step)).removeprefix("at most ")
    return f"| {step.name} | {say_step(step)} | {limits} | {step.on_success or after} | {step.on_failure} |"


def _by_number(code: str) -> tuple[int, str]:
    return (int(code) if code.isdecimal() else 1 << 30, code)
