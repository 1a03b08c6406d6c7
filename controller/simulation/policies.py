"""What fleets do without fleetmend, as playbooks, so that the same faults can be put before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from checks.finding import Finding, Verdict
from checks.registry import CHECKS
from controller.policy.playbook import Answers, Playbook, Step, Verb

FAULTY: Final = frozenset({Verdict.FAILED, Verdict.DEGRADED})

_PAGE: Final = Step("page", Verb.PAGE, limit_s=300.0, attempts=3, parameters={"severity": "critical"})

REBOOT_ON_EVERY_XID: Final = Playbook(
    name="reboot_on_every_xid",
    summary="The node is rebooted, whatever the driver said, and used again.",
    fault_class="reboot_on_every_xid",
    severity="warning",
    precedence=10,
    answers=(Answers("gpu.xid", verdicts=FAULTY),),
    steps=(
        Step("cordon", Verb.CORDON, limit_s=60.0),
        Step("drain", Verb.DRAIN, limit_s=600.0, parameters={"jobs": "requeue"}),
        Step("reboot", Verb.REBOOT, limit_s=3_600.0),
        Step("uncordon", Verb.UNCORDON, limit_s=60.0),
    ),
    hand_over=(_PAGE,),
)


def _page_for(checks: tuple[str, ...], name: str) -> Playbook:
    return Playbook(
        name=name,
        summary="Somebody is paged, and does the rest.",
        fault_class=name,
        severity="critical",
        precedence=50,
        answers=tuple(Answers(check, verdicts=FAULTY) for check in checks),
        steps=(replace(_PAGE, name="first_page"),),
        hand_over=(),
        drain_needed=False,
    )


_SEEN_BY_NODES: Final = tuple(check.id for check in CHECKS)
_SILENCE: Final = ("node.presence",)


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to answer faults.

    Attributes:
        judged: what it makes of what a check says.
        people_look: whether people find faults by jobs that stand still.
    """

    playbooks: tuple[Playbook, ...]
    judged: Callable[[Finding], Finding] = lambda finding: finding
    people_look: bool = False


def _every_xid_counts(finding: Finding) -> Finding:
    return replace(finding, verdict=Verdict.FAILED) if finding.check == "gpu.xid" else finding


POLICIES: Final[Mapping[str, Policy]] = {
    "reboot on every Xid": Policy(
        (
            REBOOT_ON_EVERY_XID,
            _page_for(tuple(check for check in (*_SEEN_BY_NODES, *_SILENCE) if check != "gpu.xid"), "page"),
        ),
        _every_xid_counts,
    ),
    "page a person": Policy((_page_for((*_SEEN_BY_NODES, *_SILENCE), "page"),)),
    "nothing": Policy((), people_look=True),
}
"""Name → what is done by it; budgets and breakers stay those of the rules."""
