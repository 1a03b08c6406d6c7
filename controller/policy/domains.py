"""Shared causes (I11): faults that one domain explains open one incident against the domain, and no node is taken out.

The smallest domain that explains at least EXPLAINED of the failures wins: a leaf before its rack, a rack before a
driver. A check that fails everywhere is a domain like any other, and the suspect is the check.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.finding import Finding, Verdict
from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.budget import size_of
from controller.policy.fleet_incident import opened
from controller.policy.incident import Incident, Phase
from controller.policy.node_belief import Raised
from controller.policy.outbreaks import family_of, window_s
from controller.policy.playbook import DOMAIN, Playbook, Step, Verb
from controller.policy.rules import DomainRule, Rules
from controller.policy.scopes import CHECK_KIND, Scope, parse

EXPLAINED = 0.8
"""Share of the family's failures that a domain must hold. Source: the project's own statement of the problem."""

NODES_NAMED = 20


def domain_playbook(rule: DomainRule) -> Playbook:
    """Return what a shared fault gets: one ticket, one page, and no step against any node."""
    return Playbook(
        name=DOMAIN,
        summary="Several nodes failed together and something that they share explains it.",
        fault_class=DOMAIN,
        severity="critical",
        precedence=0,
        answers=(),
        steps=(
            Step("ticket", Verb.TICKET, 300.0, on_failure="page", attempts=3, parameters={"team": rule.team}),
            Step("page", Verb.PAGE, limit_s=300.0, attempts=3, parameters={"severity": "critical"}),
        ),
        hand_over=(),
        drain_needed=False,
    )


def shared_causes(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield what becomes of failures that a domain explains: its incident, what joins it, whose plans end for it."""
    yield from _settle(belief, rules, now)
    if not rules.domains:
        return
    for node, key in list(belief.unanswered):
        raised = belief.nodes[node].findings.get(key)
        if (node, key) not in belief.unanswered or raised is None or not _may_share(rules, raised.finding):
            continue
        yield from _answer(belief, rules, node, raised, now)


def _may_share(rules: Rules, finding: Finding) -> bool:
    return finding.verdict is Verdict.FAILED and rules.answering(finding) is not None


def _answer(belief: Belief, rules: Rules, node: str, raised: Raised, now: float) -> Iterator[events.Event]:
    finding = raised.finding
    scopes = (*belief.scopes_of(node, []), Scope(CHECK_KIND, finding.check))
    domain = _open_domain(belief, scopes, family_of(finding.check))
    if domain is None:
        found = _explanation(belief, rules, scopes, family_of(finding.check), now)
        if found is None:
            return
        yield _open(belief, found[0], found[1], family_of(finding.check), now)
        domain = next(reversed(belief.open_incidents.values()))
        yield from _supersede(belief, domain, now)
    if raised.incident_id != domain.id:
        yield _join(domain, node, finding)


def _open_domain(belief: Belief, scopes: tuple[Scope, ...], family: str) -> Incident | None:
    written = {str(scope) for scope in scopes}
    here = (i for i in belief.open_on("") if i.playbook.name == DOMAIN and not i.stop_asked)
    return next((i for i in here if i.device in written and i.fault_class == _class_of(family)), None)


def _class_of(family: str) -> str:
    return f"{family}_{DOMAIN}"


def _explanation(
    belief: Belief, rules: Rules, scopes: tuple[Scope, ...], family: str, now: float
) -> tuple[Scope, DomainRule] | None:
    """Return the smallest domain that explains enough, `None` when each failure stands for itself."""
    found = [
        (size_of(belief, scope), scope, rule)
        for scope in scopes
        for rule in rules.domains
        if rule.kind == scope.kind and family in rule.families and _explains(belief, rule, scope, family, now)
    ]
    return min(found, key=lambda candidate: candidate[:2])[1:] if found else None


def _explains(belief: Belief, rule: DomainRule, scope: Scope, family: str, now: float) -> bool:
    failed = len(belief.outbreaks.nodes(family, scope, now))
    if failed < rule.least_nodes or failed < rule.least_share * size_of(belief, scope):
        return False
    return failed >= EXPLAINED * belief.outbreaks.total(family, scope.kind, now)


def _open(belief: Belief, scope: Scope, rule: DomainRule, family: str, now: float) -> events.IncidentOpened:
    failed, size = belief.outbreaks.nodes(family, scope, now), size_of(belief, scope)
    total = belief.outbreaks.total(family, scope.kind, now)
    seconds = window_s(scope.kind)
    reason = Reason(
        f"{len(failed)} of {size} nodes of {scope.words} failed within {seconds:g} s, of {total} in the fleet: "
        f"{rule.because}. No node is taken out for it.",
        {
            "scope": str(scope),
            "nodes": ", ".join(failed[-NODES_NAMED:]),
            "failed": str(len(failed)),
            "failed_in_fleet": str(total),
            "window_s": f"{seconds:g}",
            "least_nodes": str(rule.least_nodes),
            "explained": f"{EXPLAINED:.0%}",
        },
        f"fewer than {rule.least_nodes} of them had failed, or less than {EXPLAINED:.0%} of all that failed",
    )
    return opened(belief, str(scope), fault_class=_class_of(family), playbook=domain_playbook(rule), reason=reason)


def _join(domain: Incident, node: str, finding: Finding) -> events.IncidentJoined:
    because = f"{domain.device} explains it ({domain.id}): {finding.because}"
    return events.IncidentJoined(domain.id, finding, Reason(because), node=node)


def _supersede(belief: Belief, domain: Incident, now: float) -> Iterator[events.Event]:
    """End the plans that were begun for single nodes before the shared cause was seen, unless a repair has begun."""
    scope, family = parse(domain.device), domain.fault_class.removesuffix(f"_{DOMAIN}")
    for name in belief.outbreaks.nodes(family, scope, now):
        for incident in belief.open_on(name):
            if _superseded(incident, domain, family, now):
                standing = [belief.nodes[name].findings.get(key) for key in incident.condemned_by]
                reason = Reason(f"{domain.device} explains it: {domain.id} takes over, and no node is out for it.")
                yield events.IncidentSuperseded(incident.id, domain.id, reason)
                yield from (_join(domain, name, raised.finding) for raised in standing if raised is not None)


def _superseded(incident: Incident, domain: Incident, family: str, now: float) -> bool:
    fresh = now - incident.opened_at <= window_s(parse(domain.device).kind)
    alike = bool(incident.condemned_by) and all(family_of(key.check) == family for key in incident.condemned_by)
    return fresh and alike and incident.phase is Phase.AUTOMATIC and not incident.repair_begun


def _settle(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Close the incident of a domain whose nodes are well again; the few that are not are single faults after all."""
    for domain in belief.open_on(""):
        if domain.playbook.name != DOMAIN or domain.intent is not None or domain.step() is not None:
            continue
        kind = parse(domain.device).kind
        least = next((rule.least_nodes for rule in rules.domains if rule.kind == kind), 1)
        few = len(domain.members) < least and now - domain.opened_at > window_s(kind)
        if not domain.members or (few and now - domain.member_left_at >= _starting_s(domain)):
            left = ", ".join(sorted(domain.members))
            reason = Reason(
                f"{domain.device} is well again." + (f" Still failing by themselves: {left}." if left else "")
            )
            yield events.IncidentClosed(domain.id, "recovered", reason)


STARTING_S = 1_500.0
"""Nodes that were without power start one after the other; so long after one is heard, the silence of the last few is
not yet their own. Source: an HGX host is ready within 25 min, 99 times of 100, by the fault model."""


def _starting_s(domain: Incident) -> float:
    return STARTING_S if domain.fault_class in {_class_of("agent"), _class_of("node")} else 0.0


def wait_for_others_s(belief: Belief, rules: Rules, node: str, finding: Finding) -> float:
    """Return how long a failure waits for others of its domain, 0 when nothing could be shared."""
    places, family = belief.nodes[node].places, family_of(finding.check)
    return max((r.wait_s for r in rules.domains if family in r.families and r.kind in places), default=0.0)
