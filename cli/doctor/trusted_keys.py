"""`trusted_keys`: whether the node obeys any controller, and the one of this host if there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import AGENT, Check, Diagnosis, Role, advice, fine
from cli.doctor.patient import Patient


@dataclass(frozen=True, slots=True)
class Trust:
    """Ids of the keys that a node trusts, and what it lets them order beyond looking."""

    ids: tuple[str, ...]
    allowed: tuple[str, ...]


def read(patient: Patient) -> Trust:
    """Return whom the node trusts."""
    document = patient.documents[Role.AGENT]
    return Trust(tuple(document.get("trusted_keys", {})), tuple(document.get("orders_allowed", ())))


def judge(trust: Trust) -> Iterator[Diagnosis]:
    """Say whether anybody is obeyed."""
    if trust.ids:
        yield fine(f"The node obeys orders that are signed with {', '.join(trust.ids)}.")
        return
    yield advice(
        "The node trusts no controller's key and refuses every order: no evidence is collected, nothing is repaired.",
        "`fleetmend keys show --toml` on the controller's host prints what to add to /etc/fleetmend/agent.toml.",
    )


CHECK = Check("trusted_keys", "Whom the node obeys.", AGENT, read, judge)
