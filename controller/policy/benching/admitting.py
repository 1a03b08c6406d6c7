"""New nodes that are kept out of service until their benchmarks passed, where the operator wants that.

A node that waits for that has a finding of the controller's own, which a playbook answers: so budgets hold, people see
why it is out, and may take it in service at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.policy.belief import Belief
from controller.policy.benching.book import Due
from controller.policy.benching.when import Admission
from controller.policy.node_belief import NodeBelief, Raised
from controller.policy.playbook import ADMISSION
from controller.policy.rules import Rules

NOT_BACK = frozenset({"", "handed_over", "aborted"})
"""How an incident stands, or ended, that does not let the node in."""


def admissions(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield which new nodes wait for their benchmarks, and which do no more. Costs the nodes that are due."""
    for name, due in list(belief.bench.due.items()):
        node = belief.nodes[name]
        if node.edges.get(ADMISSION, 0.0) > now:
            continue  # The clock was set back: an older edge would change nothing, and be decided for ever.
        raised = node.findings.get(ADMISSION)
        if raised is None:
            if rules.when.admission is Admission.HOLD and node.presence == "online":
                yield events.FindingRaised(name, node.boot_id, _finding(due), now, origin="controller")
            continue
        because = due.admitted or _over(belief, rules, node, raised)
        if because:
            yield events.FindingCleared(name, ADMISSION, because, now, origin="controller")


def _finding(due: Due) -> Finding:
    because = f"{due.because} Its benchmarks have yet to pass."
    return Finding(ADMISSION.check, ADMISSION.device, ADMISSION.code, Verdict.DEGRADED, Action.NONE, because)


def _over(belief: Belief, rules: Rules, node: NodeBelief, raised: Raised) -> str:
    """Return why a node waits no more although nothing passed, empty while it does."""
    incident = belief.incidents.get(raised.incident_id)
    if incident is not None and incident.id not in belief.open_incidents and incident.outcome not in NOT_BACK:
        return f"{incident.id} is over: {incident.because}"
    if rules.when.admission is not Admission.HOLD and (incident is None or not incident.holding):
        return f"New nodes are not held any more; {node.name} is measured when it is idle."
    return ""
