"""What a ticket or a page says: text that can be acted on at 3 a.m., made from the incident alone."""

from __future__ import annotations

from controller.adapters import Notice, RmaBundle
from controller.events import StepIntended
from controller.policy.incident import Bundle, Incident
from controller.policy.playbook import (
    BENCH_SHIFT_CLASS,
    BREAKER_CLASS,
    DOMAIN,
    ROLLOUT,
    SLOW_NETWORK,
    SWEEP_STOPPED,
    Verb,
)
from controller.policy.scopes import parse
from controller.policy.silence import FLEET_SILENCE
from wire.evidence import size_text

MAX_TITLE = 160


def notice_for(
    incident: Incident, intent: StepIntended, *, at: float, page_url: str, rma: RmaBundle | None = None
) -> Notice:
    """Return the notice that a `ticket` or `page` step sends. `rma` goes with tickets alone: a page must stay short."""
    where = incident.node or parse(incident.device).words
    url = f"{page_url}/incidents/{incident.id}"
    return Notice(
        key=intent.key,
        kind=intent.verb,
        incident_id=incident.id,
        node=incident.node,
        device=incident.device,
        fault_class=incident.fault_class,
        severity=intent.parameters.get("severity", incident.playbook.severity),
        title=f"{where}: {incident.playbook.summary}"[:MAX_TITLE],
        body="\n".join(_body(incident, url)),
        at=at,
        team=intent.parameters.get("team", ""),
        url=url,
        facts=_facts(incident),
        rma=rma if intent.verb == Verb.TICKET else None,
    )


def _body(incident: Incident, url: str) -> list[str]:
    lines = [f"What: {incident.because}"]
    lines += [f"Seen: {f.check} {f.code} on {f.device}: {f.because}" for f in incident.condemned_by.values()]
    done = ", ".join(f"{step} ×{count}" for step, count in incident.attempts.items() if step not in {"ticket", "page"})
    lines.append(
        f"Done: {done or 'nothing yet'}." + (f" Last failure: {incident.last_failure}" if incident.last_failure else "")
    )
    if incident.rma:
        lines.append(f"Send back: {incident.part}. {incident.rma}")
    elif incident.recurrence.because:
        lines.append(f"Before: {incident.recurrence.because}")
    lines += [f"Evidence: {bundle.url} ({size_text(bundle.size_bytes)})" for bundle in stored(incident)]
    lines.append(_next(incident))
    if incident.playbook.runbook:
        lines.append(f"Runbook: {incident.playbook.runbook}")
    lines.append(f"More: {url}")
    return lines


def stored(incident: Incident) -> list[Bundle]:
    """Return the bundles of evidence that people can get now. One that is on its way shows on the page later."""
    return [bundle for bundle in incident.bundles.values() if bundle.state == "stored"]


_NEXT_OF_FLEET = {
    FLEET_SILENCE.name: "Next: nothing is acted on until agents are heard again. Look at the broker and the network.",
    BREAKER_CLASS: "Next: after the cool-down one node goes first, and how that ends decides. `fleetmend abort {id}` "
    "closes the breaker at once.",
    ROLLOUT: "Next: incidents are answered by the old text. `fleetmend playbook rollout` shows both and can promote or "
    "withdraw the new one; another text in its file is tried anew.",
    DOMAIN: "Next: no node is taken out for it, and it ends when the nodes are well again. `fleetmend abort {id}` has "
    "each node answered by itself.",
    BENCH_SHIFT_CLASS: "Next: while it lasts no node fails by these numbers. It ends when the fleet is back, or when a "
    "person has the baselines learnt anew; `fleetmend abort {id}` ends it at once.",
    SLOW_NETWORK: "Next: no node is taken out for it, and it ends when a later sweep finds its nodes well. `fleetmend "
    "abort {id}` ends it at once.",
    SWEEP_STOPPED: "Next: no node is condemned, and it ends when a later sweep comes to its end. `fleetmend abort "
    "{id}` ends it at once.",
}


def _next(incident: Incident) -> str:
    if not incident.node:
        return _NEXT_OF_FLEET[incident.playbook.name].format(id=incident.id, device=incident.device)
    if incident.holding and not incident.cordoned:
        return f"Next: whether {incident.node} is out is not known; what may be left of its cordon is undone."
    if incident.holding:
        return (
            f"Next: {incident.node} stays out of service. When it is mended, `fleetmend approve {incident.id}` "
            f"verifies and returns it; `fleetmend uncordon {incident.node}` returns it at once."
        )
    return f"Next: {incident.node} stays in service; fleetmend does nothing more by itself."


def _facts(incident: Incident) -> dict[str, str]:
    serials = sorted({f.serial for f in incident.condemned_by.values() if f.serial})
    addresses = sorted({f.pci for f in incident.condemned_by.values() if f.pci})
    facts = {"serial": ", ".join(serials), "pci": ", ".join(addresses), "playbook": incident.playbook.name}
    if incident.rma:
        facts |= {"rma": incident.part}
    return {name: value for name, value in facts.items() if value}
