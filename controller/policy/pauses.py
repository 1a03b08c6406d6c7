"""Pauses: a person said that nothing disruptive is to be begun, on a node, in a place, for a check, or anywhere."""

from __future__ import annotations

from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.scopes import Scope


def paused(belief: Belief, incident: Incident) -> tuple[Scope, Reason] | None:
    """Return the pause that holds this incident back, `None` when none does."""
    if not belief.pauses:
        return None
    for scope in belief.scopes_of(incident.node, [incident]):
        if scope in belief.pauses:
            lifted = f"the pause is lifted by `fleetmend resume {scope}`"
            where = "" if scope.words == "the fleet" else f" in {scope.words}"
            return scope, Reason(f"Paused{where} by {belief.pauses[scope]}.", {"scope": str(scope)}, lifted)
    return None
