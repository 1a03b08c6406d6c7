"""Parts that were taken out for what no diagnosis clears, and turn up again: in another node, or in the same one.

A GPU that computes wrong passes every test, so whoever finds it on a shelf puts it back into service. Its serial number
is all that tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.finding import Action, Finding, FindingKey, Verdict
from controller import events
from controller.policy.belief import CONDEMNED, Belief
from controller.policy.parts import Seat


def condemned(belief: Belief, now: float) -> Iterator[events.Event]:
    """Yield what is found of condemned parts, and which of them are gone again."""
    for name, here in list(belief.condemned_seen.items()):
        node = belief.nodes[name]
        for device, seat in here.items():
            if FindingKey(CONDEMNED, device, "") not in node.findings:
                finding = _finding(seat, belief.condemned[seat.serial])
                yield events.FindingRaised(name, node.boot_id, finding, now, origin="controller")
        for key in [key for key in node.findings if key.check == CONDEMNED and key.device not in here]:
            because = f"{name} no longer names that part."
            yield events.FindingCleared(name, key, because, now, origin="controller")


def _finding(seat: Seat, incident_id: str) -> Finding:
    because = f"{seat.device} has the serial {seat.serial}, taken out for {incident_id}, which no diagnosis clears."
    pci = seat.place if seat.place != seat.device else ""
    return Finding(
        CONDEMNED, seat.device, "", Verdict.FAILED, Action.CONTACT_SUPPORT, because, pci=pci, serial=seat.serial
    )
