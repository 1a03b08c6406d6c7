"""What each answer of the API means to the engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.kubernetes_answers import Answer, answer_of, failure_of

# Captured from kube-apiserver 1.20.2.
BLOCKED = (
    b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Cannot evict pod as it would '
    b'violate the pod\'s disruption budget.","reason":"TooManyRequests","details":{"causes":[{"reason":'
    b'"DisruptionBudget","message":"The disruption budget web needs 1 healthy pods and has 1 currently"}]},"code":429}'
)
HOOK = 'Internal error occurred: failed calling webhook "g.example.org": Post "https://x/": context deadline exceeded'
TWO_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


@pytest.mark.parametrize(
    ("answer", "kind", "because"),
    [
        (Answer(400, "bad"), Permanent, "does not take the request"),
        (Answer(400, 'admission webhook "g" denied the request: no'), Refused, "webhook says no"),
        (Answer(401, "Unauthorized"), Permanent, "does not know who fleetmend is"),
        (Answer(403, 'nodes "n1" is forbidden'), Permanent, "kubernetes/rights/rbac.yaml"),
        (Answer(403, 'admission webhook "g" denied the request: no'), Refused, "webhook says no"),
        (
            Answer(403, 'nodes is forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "f" not found'),
            Retryable,
            "has not loaded its roles yet",
        ),
        (Answer(404, 'nodes "n1" not found'), Permanent, "no such thing"),
        (Answer(405, "no"), Permanent, "does not take the request"),
        (Answer(408, "slow"), Retryable, "not done in time"),
        (Answer(409, "the object has been modified"), Retryable, "in the same moment"),
        (Answer(410, "too old resource version"), Retryable, "too old"),
        (Answer(415, "no"), Permanent, "does not take the request"),
        (Answer(422, "invalid"), Permanent, "does not take the request"),
        (Answer(429, "slow down"), Retryable, "overloaded"),
        (Answer(500, "etcdserver: leader changed"), Retryable, "in trouble itself"),
        (Answer(500, HOOK), Retryable, "webhook does not answer"),
        (Answer(500, TWO_BUDGETS), Permanent, "under several disruption budgets"),
        (Answer(502, "bad gateway"), Retryable, "in trouble itself"),
        (Answer(503, "unavailable"), Retryable, "in trouble itself"),
        (Answer(504, "the request timed out"), Retryable, "not done in time"),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Answer) else None,
)
def test_an_answer_is_told_for_what_it_is(answer: Answer, kind: type[Exception], because: str) -> None:
    failure = failure_of(answer, "the cordon of n1")

    assert type(failure) is kind
    assert because in str(failure)
    assert str(failure).startswith("Kubernetes, the cordon of n1: ")
    assert str(failure).endswith(f"({answer.code}: {answer.message})")


def test_a_disruption_budget_is_told_from_overload_by_its_cause() -> None:
    assert answer_of(429, BLOCKED).budget_forbids
    assert not answer_of(429, b'{"message":"Too many requests, please try again later."}', "1").budget_forbids
    assert not answer_of(500, BLOCKED).budget_forbids


@pytest.mark.parametrize(
    ("asked", "after_s"), [("", 1.0), ("0", 1.0), ("9", 9.0), ("99999", 300.0), ("Fri, 27 Nov 2026", 1.0)]
)
def test_a_server_that_says_when_is_asked_no_sooner(asked: str, after_s: float) -> None:
    failure = failure_of(answer_of(429, b"{}", asked), "x")

    assert isinstance(failure, Retryable)
    assert failure.after_s == after_s


@given(st.integers(100, 599), st.binary(), st.text())
def test_any_answer_has_a_meaning(code: int, body: bytes, retry_after: str) -> None:
    assert isinstance(failure_of(answer_of(code, body, retry_after), "x"), Retryable | Permanent | Refused)
