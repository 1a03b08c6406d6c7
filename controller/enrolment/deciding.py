"""Whether a host may have a certificate. Pure: what is known goes in, a sentence comes out.

A token is used up by hosts, not by requests: a host whose answer was lost asks again with the same key and uses nothing
more. Once it was given a certificate that is so for some minutes alone, and not when what it was given is revoked: else
a token that lies about on a host that was shut out would let it in again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from controller.api.problems import Problem
from controller.enrolment.nodes import covers, why_no_node
from controller.enrolment.tokens import EnrolmentToken
from controller.policy.enrolling.book import EnrolmentBook, Use

ASK_AGAIN_S: Final = 900.0
"""So long a host may ask again whose answer was lost. Source: our choice; a person sees it fail, and starts it anew."""


class Turned(Problem):
    """Whoever asks gets no certificate. `token_id`: of the token that they showed, empty when it is none of ours."""

    def __init__(self, status: int, error: str, hint: str, *, token_id: str = "") -> None:
        super().__init__(status, error, hint)
        self.token_id = token_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a host asks for. `key`: SHA-256 of the public key of its request, in hexadecimal digits."""

    node: str
    key: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the authority says. `good`: serials of certificates of this name that are good; `revoked`: of all names."""

    good: Collection[str] = ()
    revoked: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """Yes. `again`: it is no further use of the token."""

    because: str
    again: bool = False


def check_token(token: EnrolmentToken | None, node: str, now: float) -> EnrolmentToken:
    """Return the token if this node may use it at all.

    Raises:
        Turned: 401, it opens nothing; 403, it is for other nodes; 422, no node can be called so.
    """
    if token is None:
        raise Turned(401, "this is no enrolment token of this controller", "fleetmend enrol token make makes one")
    if because := token.why_bad(now):
        raise Turned(401, because, "fleetmend enrol token make makes another", token_id=token.id)
    if because := why_no_node(node):
        raise Turned(422, because, "name it with --node as the scheduler knows it", token_id=token.id)
    if not covers(token.nodes, node):
        raise Turned(403, f"token {token.id} is not for {node}", f"it is for {token.nodes}", token_id=token.id)
    return token


def decide(wanted: Wanted, token: EnrolmentToken, book: EnrolmentBook, held: Held, *, now: float) -> Granted:
    """Return why a host may have a certificate.

    Raises:
        Turned: 403, the token is used up, or what it gave was revoked; 409, the name has a good certificate.
    """
    made = f"token {token.id}, made by {token.made_by} for {token.nodes}"
    before = book.use_for(token.id, wanted.node, wanted.key)
    if before is not None:
        _check_again(before, token, held, now)
        return Granted(f"{wanted.node} asks again with the key that it enrolled with by {made}.", again=True)
    used = len(book.used(token.id))
    if used >= token.uses:
        raise Turned(403, _used_up(wanted, token, book), _ANOTHER, token_id=token.id)
    if held.good and not token.replace:
        because = f"{wanted.node} has a good certificate already (serial {min(held.good)})"
        raise Turned(409, because, "if this is that host set up anew: enrol token make --replace", token_id=token.id)
    return Granted(f"{wanted.node} enrols by {made}: use {used + 1} of {token.uses}.")


_ANOTHER: Final = "fleetmend enrol token make makes another"


def _check_again(use: Use, token: EnrolmentToken, held: Held, now: float) -> None:
    if set(use.serials) & set(held.revoked):
        because = f"the certificate that {use.node} got by token {token.id} was revoked"
        raise Turned(403, because, _ANOTHER, token_id=token.id)
    if use.serials and not 0 <= now - use.at < ASK_AGAIN_S:
        because = f"{use.node} used token {token.id} more than {ASK_AGAIN_S / 60:g} minutes ago"
        raise Turned(403, because, f"{_ANOTHER}, with --replace", token_id=token.id)


def _used_up(wanted: Wanted, token: EnrolmentToken, book: EnrolmentBook) -> str:
    nodes = {use.node for use in book.used(token.id)}
    if wanted.node in nodes:
        return f"token {token.id} is used up, by {wanted.node} with another key"
    return f"token {token.id} is used up: {len(book.used(token.id))} of {token.uses} hosts enrolled by it"
