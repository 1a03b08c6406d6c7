"""How often a closed ticket is believed: a bot that closes it again and again must not have a node verified for ever.

A closing is a person's word that the part is mended, and leads to a verification. After one that failed the next
closing waits, and after a few a person decides in fleetmend. Pure.
"""

from __future__ import annotations

from controller.events import Reason
from controller.policy.incident import Incident, Phase

WAITS_S = (0.0, 900.0, 3_600.0)
"""So long each closing of an incident's ticket waits for its verification; closings lead to no more of them than these.
Source: our choice; who reseats a GPU a second time needs some minutes, and whose third try fails needs other eyes."""


def take(incident: Incident, at: float) -> bool:
    """Take in that the ticket of an incident that people have was closed; return whether a person must decide now."""
    if incident.return_asked or incident.closed_there_at or must_decide(incident):
        return False
    incident.closings += 1
    if incident.closings == 1:
        incident.return_asked = True
    elif incident.closings <= len(WAITS_S):
        incident.closed_there_at = at
    return incident.closings == len(WAITS_S) + 1


def forget(incident: Incident) -> None:
    """A person decided in fleetmend: closings are believed anew."""
    incident.closings, incident.closed_there_at = 0, 0.0


def waits_s(incident: Incident, now: float) -> float:
    """Return for how much longer a closing waits, 0 when none does. A clock that is set back ends the wait."""
    if not incident.closed_there_at:
        return 0.0
    waited, wait_s = now - incident.closed_there_at, WAITS_S[incident.closings - 1]
    return wait_s - waited if 0.0 <= waited < wait_s else 0.0


def believed(incident: Incident, now: float) -> Reason | None:
    """Return why the closing that waited is verified now, `None` while none does or it waits on."""
    if not incident.closed_there_at or incident.phase is not Phase.HAND_OVER or waits_s(incident, now):
        return None
    most, failed = len(WAITS_S), incident.closings - 1
    return Reason(
        "Its ticket was closed again: verifying before the node returns.",
        {
            "closings": str(incident.closings),
            "verifications_failed": str(failed),
            "most_closings": str(most),
            "waited_s": f"{WAITS_S[failed]:g}",
        },
        f"{WAITS_S[failed]:g} s had not passed since the ticket was closed, or it had been opened again meanwhile",
    )


def must_decide(incident: Incident) -> str:
    """Return that closings are believed no more and what a person can do, empty while they are."""
    if incident.closings <= len(WAITS_S):
        return ""
    return (
        f"A person must decide: the ticket was closed {incident.closings} times and {len(WAITS_S)} verifications in a "
        f"row failed, so that closing it has nothing verified any more. `fleetmend approve {incident.id}` verifies "
        f"once more; `fleetmend uncordon {incident.node}` returns the node at once. Had one passed, the node "
        "would be back."
    )
