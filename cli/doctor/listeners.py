"""`listeners`: ports of ours that others reach, and whether these have to say who they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, Role, advice, fine, unsafe
from cli.doctor.patient import Patient
from wire.loopback import is_loopback


@dataclass(frozen=True, slots=True)
class Listener:
    """One port.

    Attributes:
        what: which it is, for people.
        is_near: whether only this machine reaches it.
        asks_who: whether whoever comes has to say who they are.
        has_tls: whether nobody on the way can listen.
        shows: what one gets there.
    """

    what: str
    is_near: bool
    asks_who: bool
    has_tls: bool
    shows: str


def read(patient: Patient) -> list[Listener]:
    """Return the ports that the settings open."""
    found = []
    if Role.AGENT in patient.roles:
        metrics = patient.documents[Role.AGENT].get("metrics", {})
        if metrics.get("port") is not None:
            host = str(metrics.get("host", "127.0.0.1"))
            what = f"metrics.port {metrics['port']} of the agent on {host}"
            found.append(Listener(what, is_loopback(host), asks_who=False, has_tls=False, shows="read its metrics"))
    if Role.CONTROLLER in patient.roles:
        document = patient.documents[Role.CONTROLLER]
        http = document.get("http", {})
        host = str(http.get("host", "127.0.0.1"))
        what = f"the page and API on {host}:{http.get('port', 8642)}"
        has_tls, asks_who = bool(http.get("certificate_file")), "access" in document
        found.append(Listener(what, is_loopback(host), asks_who, has_tls, "cordon nodes and approve repairs"))
    return found


def judge(facts: list[Listener]) -> Iterator[Diagnosis]:
    """Say which stand open."""
    for each in facts:
        yield _judged(each)


def _judged(each: Listener) -> Diagnosis:
    if each.is_near and each.asks_who:
        return fine(f"{_first(each.what)} asks who one is.")
    if each.is_near:
        return fine(f"{_first(each.what)}: only this machine reaches it.")
    if not each.asks_who and "metrics" in each.shows:
        return advice(
            f"{_first(each.what)}: whoever reaches it may {each.shows}.",
            "Let a firewall keep it to Prometheus, or set metrics.host to an address that only Prometheus reaches.",
        )
    if not each.asks_who or not each.has_tls:
        return unsafe(f"{_first(each.what)}: whoever reaches it may {each.shows}.", "docs/how-to/access.md")
    return fine(f"{_first(each.what)} speaks TLS and asks who one is.")


def _first(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


CHECK = Check("listeners", "Ports that others reach.", DAEMONS, read, judge)
