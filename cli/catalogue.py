"""Every check with its source and what answers it: for `fleetmend checks`, and for the reference that is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent.runner import OWN_INTERVAL_S
from agent.settings import KernelLog
from agent.sources.registry import SOURCES
from agent.sources.source import Cost, Privilege, Timing
from agent.watched import Watched
from checks.check import Check, Outcome
from checks.finding import WORST_FIRST, Action, Finding, Verdict
from checks.readings import AgentReading, KernelLogState
from checks.readings.site import ID
from controller.policy.playbook import Playbook
from controller.policy.rules import Budget, Rules

LADDER = tuple(Action)
UNMEASURED = "?"
"""Cost of a program of the site."""


@dataclass(frozen=True, slots=True)
class Row:
    """One check.

    Attributes:
        interval_s: between two readings while all is calm; 0.0 for what is judged as it comes.
        verdicts: worst first.
        action: what it can ask for, strongest first, without `none`.
        playbook: those that come with fleetmend and answer something that it can say.
    """

    id: str
    summary: str
    source: str
    interval_s: float
    cost: str
    privilege: str
    verdicts: list[str]
    action: list[str]
    playbook: list[str]
    thresholds: dict[str, str]


def catalogue(playbooks: Iterable[Playbook], ours: Watched, timings: Mapping[str, Timing]) -> Iterator[Row]:
    """Yield every check of a node, in the registry's order.

    Args:
        timings: source → when the node reads it; one that is switched off has none.
    """
    rules = Rules(tuple(playbooks), Budget(nodes=1))
    intervals = {name: timing.interval_s for name, timing in timings.items()}
    intervals |= {program.name: program.timing.interval_s for program in ours.programs}
    for check in ours.checks:
        interval_s, cost, privilege = _source(check, intervals.get(check.source, 0.0))
        said = {outcome.verdict for outcome in check.outcomes} | {Verdict.OK, Verdict.UNKNOWN}
        asked = {outcome.action for outcome in check.outcomes} - {Action.NONE}
        yield Row(
            id=check.id,
            summary=check.summary,
            source=check.source,
            interval_s=interval_s,
            cost=cost,
            privilege=privilege,
            verdicts=[verdict.value for verdict in WORST_FIRST if verdict in said],
            action=[action.value for action in reversed(LADDER) if action in asked],
            playbook=sorted({name for outcome in check.outcomes if (name := _answer(rules, check.id, outcome))}),
            thresholds=dict(check.thresholds),
        )


def _source(check: Check, interval_s: float) -> tuple[float, str, str]:
    for declared in SOURCES:
        if declared.name == check.source:
            return interval_s, declared.cost.value, declared.privilege.value
    if ID.fullmatch(check.source):
        return interval_s, UNMEASURED, Privilege.NONE.value
    if check.source == AgentReading.SOURCE:
        return OWN_INTERVAL_S, Cost.LOW.value, Privilege.NONE.value
    assert check.source == KernelLogState.SOURCE
    is_polled = getattr(check, "reading", None) is KernelLogState
    return (KernelLog().state_interval_s if is_polled else 0.0), Cost.LOW.value, Privilege.CAP_SYSLOG.value


def _answer(rules: Rules, check: str, outcome: Outcome) -> str:
    finding = Finding(check, "", outcome.code, outcome.verdict, outcome.action, "")
    playbook = rules.answering(finding)
    return playbook.name if playbook else ""
