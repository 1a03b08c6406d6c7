"""What an answer of the Kubernetes API means to the engine: try again, hopeless, or refused. One table.

Source: k8s.io/apimachinery api/errors, and what a real server of 1.20 was seen to answer.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from controller.errors import Permanent, Refused, Retryable

DISRUPTION_BUDGET = "DisruptionBudget"
"""Cause of a 429 by which a disruption budget holds a pod back; overload has none. Source: policy/v1, constants."""

TOO_OLD = 410
GONE = 404
CONFLICT = 409

MAX_RETRY_AFTER_S = 300.0
MAX_MESSAGE_CHARACTERS = 400


class Meaning(StrEnum):
    """What the engine is told."""

    RETRY = "retry"
    PERMANENT = "permanent"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a success.

    Attributes:
        message: the server's own sentence.
        causes: reasons of its details.
        retry_after_s: what it asked for, 0 when it did not.
    """

    code: int
    message: str
    causes: tuple[str, ...] = ()
    retry_after_s: float = 0.0

    @property
    def budget_forbids(self) -> bool:
        """A disruption budget lets nothing of the pod's kind go at this moment."""
        return self.code == 429 and DISRUPTION_BUDGET in self.causes


class Answered(Exception):
    """The API answered, and not with a success."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.code} {answer.message}")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        codes: empty fits every code.
        says: which all must be in the server's sentence.
        because: what it means, for a person.
    """

    meaning: Meaning
    because: str
    codes: frozenset[int] = frozenset()
    says: tuple[str, ...] = ()
    after_s: float = 1.0

    def fits(self, answer: Answer) -> bool:
        """Return whether the answer is of this kind."""
        return (not self.codes or answer.code in self.codes) and all(part in answer.message for part in self.says)


def _codes(*codes: int) -> frozenset[int]:
    return frozenset(codes)


TABLE = (
    Row(Meaning.REFUSED, "an admission webhook says no", says=("admission webhook", "denied the request")),
    Row(
        Meaning.RETRY,
        "an admission webhook does not answer, and nothing can be written before it does",
        codes=_codes(500, 504),
        says=("failed calling webhook",),
        after_s=5.0,
    ),
    Row(
        Meaning.PERMANENT,
        "the pod is under several disruption budgets, with which no eviction works: leave it under one",
        codes=_codes(500),
        says=("more than one PodDisruptionBudget",),
    ),
    Row(
        Meaning.PERMANENT,
        "it does not know who fleetmend is: the token or certificate is wrong or has run out",
        codes=_codes(401),
    ),
    Row(
        Meaning.RETRY,
        "it has not loaded its roles yet, or fleetmend is bound to one that does not exist",
        codes=_codes(403),
        says=("RBAC: ", "not found"),
        after_s=2.0,
    ),
    Row(
        Meaning.PERMANENT,
        "fleetmend may not do that there; kubernetes/rights/rbac.yaml has all the rights that it needs",
        codes=_codes(403),
    ),
    Row(Meaning.PERMANENT, "there is no such thing", codes=_codes(404)),
    Row(Meaning.RETRY, "somebody else changed it in the same moment", codes=_codes(409)),
    Row(Meaning.RETRY, "what it was asked for is too old", codes=_codes(410)),
    Row(Meaning.RETRY, "it is overloaded", codes=_codes(429)),
    Row(Meaning.RETRY, "it was not done in time", codes=_codes(408, 504), after_s=2.0),
    Row(Meaning.RETRY, "it is in trouble itself", codes=frozenset(range(500, 600)), after_s=2.0),
)
"""The first row that fits counts; an answer that none fits is hopeless."""

UNFIT = Row(Meaning.PERMANENT, "it does not take the request as it is")


def row_of(answer: Answer) -> Row:
    """Return the row that an answer is of."""
    return next((row for row in TABLE if row.fits(answer)), UNFIT)


def failure_of(answer: Answer, doing: str) -> Retryable | Permanent | Refused:
    """Return what the engine is told.

    Args:
        doing: what was asked for, as in `the cordon of n1`.
    """
    row = row_of(answer)
    sentence = f"Kubernetes, {doing}: {row.because} ({answer.code}: {answer.message[:MAX_MESSAGE_CHARACTERS]})"
    match row.meaning:
        case Meaning.RETRY:
            return Retryable(sentence, after_s=max(row.after_s, min(answer.retry_after_s, MAX_RETRY_AFTER_S)))
        case Meaning.PERMANENT:
            return Permanent(sentence)
        case Meaning.REFUSED:
            return Refused(sentence)


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class Status(msgspec.Struct):
    """The body of an answer that is not a success, and of an ERROR in a watch."""

    code: int = 0
    message: str = ""
    details: _Details | None = None


def answer_of(code: int, body: bytes, retry_after: str = "") -> Answer:
    """Return an answer from its parts; a proxy's answer has a body of its own."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        status = Status(message=" ".join(body.decode("utf-8", "replace").split()))
    causes = status.details.causes if status.details is not None and status.details.causes else ()
    wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
    message = status.message or "no reason given"
    return Answer(code or status.code, message, tuple(cause.reason for cause in causes), wait_s)


@contextmanager
def transported(doing: str) -> Iterator[None]:
    """Turn what goes wrong on the way into what the engine understands; an answer of the API becomes `Answered`.

    Raises:
        Answered: the API said something else than yes.
        Retryable: it did not answer, not in time, or not to the end.
        Permanent: it could not prove who it is.
    """
    try:
        yield
    except httpx2.HTTPStatusError as error:
        response = error.response
        raise Answered(
            answer_of(response.status_code, response.content, response.headers.get("Retry-After", ""))
        ) from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise Retryable(f"Kubernetes, {doing}: no answer in time", after_s=2.0) from error
    except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
        raise _unreached(error, doing) from error
    except ConfigError as error:
        raise Retryable(f"Kubernetes, {doing}: no credentials: {error}", after_s=5.0) from error
    except (ValueError, KeyError, RecursionError) as error:
        raise Retryable(f"Kubernetes, {doing}: what answered is not its API: {error}", after_s=5.0) from error


def _unreached(error: BaseException, doing: str) -> Retryable | Permanent:
    untrusted = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        return Permanent(f"Kubernetes, {doing}: the server does not prove who it is: {untrusted.verify_message}")
    return Retryable(f"Kubernetes, {doing}: the connection failed: {str(error) or type(error).__name__}", after_s=1.0)


def _causes(error: BaseException | None) -> Sequence[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
