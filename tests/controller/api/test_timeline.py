"""Every kind of event can be read by people."""

from __future__ import annotations

from typing import get_args

from controller import events
from controller.api.timeline import entry_of, headline


def test_every_kind_of_event_has_a_headline() -> None:
    spoken = {kind for kind in headline.registry if kind is not object}
    assert spoken == set(get_args(events.Event))


def test_a_restored_log_says_so() -> None:
    entry = entry_of(events.Logged(8, 1.0, events.LogRestored(7)))
    assert entry.text == "Restored from a backup that ends with entry 7"
