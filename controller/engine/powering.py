"""What the engine does by a node's BMC: cut its power, under the policy's guard, and gather evidence of a lost node."""

from __future__ import annotations

from dataclasses import dataclass

from controller.adapters import Power
from controller.errors import InDoubt, Permanent, Refused, Retryable
from controller.events import StepIntended
from controller.policy.belief import Belief
from controller.policy.power_guard import why_not_cycled

COLD = "cold"


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request, as `StepProgressed` says it: `accepted` or `in_doubt`."""

    state: str
    because: str


async def ask_for_cycle(power: Power, belief: Belief, intent: StepIntended, *, term: int, resumed: bool) -> Asked:
    """Have the node of an intent switched off and on, once.

    A doubt is no end of the step: the node has its whole time to show whether it happened.

    Raises:
        Refused: the node is neither lost nor empty.
        Retryable, Permanent: as the adapter says.
    """
    if resumed and not power.repeatable:
        return await _take_up(power, intent, term)
    try:
        refused = why_not_cycled(belief, belief.incidents[intent.incident_id])
        if refused and not power.is_half_done(intent.key):
            raise Refused(refused)
        cold = intent.parameters.get("start") == COLD
        return Asked("accepted", await power.cycle(intent.node, key=intent.key, fencing_token=term, cold=cold))
    except InDoubt as doubt:
        return Asked("in_doubt", str(doubt))


async def _take_up(power: Power, intent: StepIntended, term: int) -> Asked:
    """Go on with what an earlier controller began. What cannot be told stays in doubt, and is not asked for anew."""
    try:
        return Asked("accepted", await power.take_up(intent.node, key=intent.key, fencing_token=term))
    except InDoubt as doubt:
        return Asked("in_doubt", str(doubt))
    except Retryable as error:
        return Asked("in_doubt", f"The controller stopped while {power.name} was asked for it, and {error}")


async def evidence_of(power: Power, node: str) -> tuple[dict[str, str], str]:
    """Return what the BMC tells of a node that cannot speak for itself, with a sentence; nothing without a BMC.

    Raises:
        Permanent: it could not be asked. Nothing is tried again for evidence: what follows is more urgent.
    """
    try:
        found = await power.evidence(node)
    except (Retryable, Refused) as error:
        raise Permanent(f"The agent on {node} is not heard, and its BMC told nothing: {error}") from error
    named = ", ".join(sorted(found))
    return found, f"The agent on {node} is not heard, so its BMC was asked: {named}." if found else ""
