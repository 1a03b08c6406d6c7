"""Which destinations the settings make, and what is wrong with them, all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.notices.choosing import destinations_of
from controller.settings import ControllerSettings, SettingsError


def settings(tmp_path: Path, **tables: Any) -> ControllerSettings:
    return ControllerSettings.model_validate({"state": str(tmp_path), **tables})


def test_without_settings_both_are_files_in_the_state_directory(tmp_path: Path) -> None:
    made = destinations_of(settings(tmp_path))
    assert (list(made.tickets), list(made.pages)) == (["json_lines"], ["json_lines"])
    assert [rule.name for rule in made.rules.routed("ticket", "any team", "")] == ["json_lines"]


def test_what_is_set_is_what_decides(tmp_path: Path) -> None:
    pages = [
        {"kind": "webhook", "name": "duty", "url": "https://h/1", "severities": ["critical"], "escalate_to": "boss"},
        {"kind": "webhook", "name": "boss", "url": "https://h/2", "escalation_only": True},
    ]
    notices = {"storm_pages": 7, "storm_within_s": 60, "bundle_s": 5}
    made = destinations_of(settings(tmp_path, pages=pages, notices=notices))
    assert [rule.name for rule in made.rules.routed("page", "", "critical")] == ["duty"]
    assert made.rules.routed("page", "", "warning") == ()
    assert (made.rules.storm.pages, made.rules.storm.within_s, made.rules.bundle_s) == (7, 60.0, 5.0)
    assert {name: adapter.name for name, adapter in made.pages.items()} == {"duty": "duty", "boss": "boss"}


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    tables = {
        "tickets": [{"kind": "json_lines", "severities": ["critical"]}, {"kind": "json_lines"}],
        "pages": [{"kind": "json_lines", "name": "a", "escalate_to": "b"}, {"kind": "json_lines", "name": "c"}],
    }
    with pytest.raises(SettingsError) as refusal:
        destinations_of(settings(tmp_path, **tables))
    assert str(refusal.value).splitlines() == [
        "tickets: 2 are called 'json_lines': give each a name of its own",
        "tickets.0.severities: it is for pages alone; leave it out",
        "pages.0.escalate_to: 'b' is no other of [[pages]]; there are c",
    ]
