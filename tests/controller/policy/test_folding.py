"""Every kind of event changes belief in one known place."""

from __future__ import annotations

from typing import get_args

from controller import events
from controller.policy.folding import FOLDS


def test_every_kind_of_event_is_taken_in() -> None:
    assert set(FOLDS) == set(get_args(events.Event))
