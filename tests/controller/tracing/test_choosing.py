"""Which traces the settings ask for, and what is said when they cannot be had."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import pytest

from controller.cell import Cell
from controller.policy.rules import Budget, Rules
from controller.sections.traces import TracesSection
from controller.settings import ControllerSettings, SettingsError
from controller.store.sqlite import SqliteLog
from controller.tracing.calls import Peers
from controller.tracing.choosing import headers_in, traces_of
from controller.tracing.telling import Teller
from controller.tracing.traces import NoTraces, Traces

URL = "http://127.0.0.1:4318"


def chosen(directory: Path, section: TracesSection) -> Traces:
    with contextlib.closing(SqliteLog(directory / "events.sqlite")) as log:
        settings = ControllerSettings(state=directory, traces=section)
        return traces_of(settings, Cell(log, Rules((), Budget(nodes=1))), Peers("none"), time.time)


def test_none_are_told_unless_somebody_is_to_be_told(tmp_path: Path) -> None:
    assert isinstance(chosen(tmp_path, TracesSection()), NoTraces)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (URL, f"{URL}/v1/traces"),
        (f"{URL}/", f"{URL}/v1/traces"),
        ("https://tempo.example/otlp/v1/traces", "https://tempo.example/otlp/v1/traces"),
    ],
)
def test_the_usual_path_is_put_behind_an_address_without_one(tmp_path: Path, endpoint: str, url: str) -> None:
    traces = chosen(tmp_path, TracesSection(endpoint=endpoint, ui_url="https://ui.example/{trace_id}/spans"))
    assert isinstance(traces, Teller)
    assert traces.sender.receiver.url == url
    assert (traces.url("abc"), traces.url("")) == ("https://ui.example/abc/spans", "")


def test_without_its_extra_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("opentelemetry", "controller.tracing.otlp"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError, match=r"^traces: endpoint needs the extra fleetmend\[traces\]: "):
        chosen(tmp_path, TracesSection(endpoint=URL))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"Authorization Bearer s3cret", "line 1 is not `Name: value`"),
        (b"# theirs\nX-Good: 1\nX-Bad: caf\xc3\xa9", "line 3 is not `Name: value`"),
        (b"Two Words: s3cret", "line 1 is not"),
        (b"Empty:", "line 1 is not"),
        (b"\xff", "can't decode byte"),
    ],
)
def test_a_headers_file_that_is_none_is_said_without_its_secrets(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "headers"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        chosen(tmp_path, TracesSection(endpoint=URL, headers_file=file))
    assert told in str(refused.value)
    assert str(refused.value).startswith("traces.headers_file: ")
    assert "s3cret" not in str(refused.value)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SettingsError, match=f"traces.headers_file: .*{missing}"):
        chosen(tmp_path, TracesSection(endpoint=URL, headers_file=missing))
    with pytest.raises(SettingsError, match=f"traces.ca_file: {missing}"):
        chosen(tmp_path, TracesSection(endpoint=URL, ca_file=missing))


def test_headers_are_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Basic YTpiOmM=\n\n# a comment\nX-Scope-OrgID:\tgpu fleet \n")
    assert headers_in(file) == {"Authorization": "Basic YTpiOmM=", "X-Scope-OrgID": "gpu fleet"}
    assert headers_in(None) == {}
