"""Whatever the other side answers: it is understood, or it is said that it is not that system's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters import Answer
from controller.errors import Permanent
from controller.notices.http import Reply
from controller.pages import alertmanager, opsgenie, pagerduty

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
AGENT = {"summary": "Kim"}
INCIDENTS = {
    "incidents": [
        {
            "status": "acknowledged",
            "html_url": "https://x",
            "acknowledgements": [{"acknowledger": AGENT}],
            "last_status_change_by": AGENT,
        }
    ]
}
ALERT = {
    "data": {
        "status": "closed",
        "id": "1",
        "acknowledged": True,
        "owner": "kim",
        "report": {"acknowledgedBy": "kim", "closedBy": "sam"},
    }
}
SHOWN = [
    {
        "labels": {"alertname": "x", "cell": "main", "incident": "inc-1"},
        "annotations": {"summary": "x"},
        "startsAt": "2026-01-31T02:10:00.000Z",
        "endsAt": "2026-02-01T02:10:00.000Z",
        "generatorURL": "https://x",
        "status": {"state": "suppressed", "silencedBy": ["1"], "inhibitedBy": []},
    }
]
WHOLE = [
    (pagerduty.Incidents, INCIDENTS),
    (pagerduty.Taken, {"status": "success"}),
    (opsgenie.ShownAlert, ALERT),
    (opsgenie.ShownNotes, {"data": [{"note": "x", "owner": "kim"}]}),
    (opsgenie.ShownDone, {"data": {"isSuccess": True, "status": "done", "alertId": "1"}}),
    (opsgenie.Taken, {"requestId": "1"}),
    (list[alertmanager.Shown], SHOWN),
    (alertmanager.Silence, {"createdBy": "Kim", "comment": "mine"}),
]


def places(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to everything in a document."""
    found = [before]
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            found += places(document[key], (*before, key))
    return found


def with_other(document: Any, place: tuple[Any, ...], other: Any) -> Any:
    """Return the document with something else at a place."""
    if not place:
        return other
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[place[0]] = with_other(document[place[0]], place[1:], other)
    return copy


def read(kind: Any, body: bytes) -> Any:
    return Reply(200, {}, body, True, "somebody").read(kind)


@pytest.mark.parametrize(("kind", "document"), WHOLE)
def test_what_they_document_is_understood(kind: Any, document: Any) -> None:
    assert read(kind, msgspec.json.encode(document)) is not None


@given(st.data())
def test_an_answer_with_anything_in_it_is_understood_or_said_to_be_none(data: st.DataObject) -> None:
    kind, document = data.draw(st.sampled_from(WHOLE))
    changed = with_other(document, data.draw(st.sampled_from(places(document))), data.draw(ANYTHING))
    try:
        found = read(kind, msgspec.json.encode(changed))
    except Permanent as error:
        assert "somebody answered something else than expected" in str(error)
        return
    if isinstance(found, pagerduty.Incidents):
        answers = [pagerduty._answer(each) for each in found.incidents]
        assert all(len(answer.by) <= pagerduty.MAX_FIELD for answer in answers)
    if isinstance(found, opsgenie.ShownAlert):
        assert isinstance(opsgenie._answer(found.data), Answer)


@given(st.sampled_from([kind for kind, _ in WHOLE]), st.binary(max_size=200))
def test_bytes_are_understood_or_said_to_be_none(kind: Any, body: bytes) -> None:
    try:
        read(kind, body)
    except Permanent as error:
        assert "something else than expected" in str(error)
