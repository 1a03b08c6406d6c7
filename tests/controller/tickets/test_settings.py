"""Mistakes in the tables of ticket systems are said with their key and what is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from controller.notices.choosing import destinations_of
from controller.settings import SettingsError, load
from controller.tickets.ticketing import Ticketing

PAGE = Path(__file__).parents[3] / "docs/how-to/ticket-systems.md"
GROUP = "287ebd7da9fe198100f92cc8d1d2154e"
WHOLE: dict[str, dict[str, Any]] = {
    "jira": {"url": "https://x.atlassian.net", "user": "a@b.c", "token_file": "{secret}", "project": "OPS"},
    "servicenow": {"url": "https://x.service-now.com", "token_file": "{secret}", "assignment_groups": {"a": GROUP}},
    "github": {"token_file": "{secret}", "repository": "example/fleet"},
    "gitlab": {"token_file": "{secret}", "project": "example/ops/fleet"},
    "request_tracker": {"url": "https://rt.example", "user": "u", "password_file": "{secret}", "queue": "Fleet"},
    "roundup": {"url": "https://host/fleet", "user": "u", "password_file": "{secret}"},
}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def write(folder: Path, kind: str, **changed: Any) -> Path:
    secret = folder / "secret"
    if not secret.exists():
        secret.write_text("s3cret")
        secret.chmod(0o600)
    table = {name: value for name, value in {**WHOLE[kind], **changed}.items() if value is not None}
    lines = [f"{name} = {toml(value)}".replace("{secret}", str(secret)) for name, value in table.items()]
    file = folder / "controller.toml"
    file.write_text("\n".join([f'state = "{folder}"', 'cell = "a"', "[[tickets]]", f'kind = "{kind}"', *lines]))
    return file


@pytest.mark.parametrize("kind", WHOLE)
def test_a_table_makes_its_adapter(tmp_path: Path, kind: str) -> None:
    made = destinations_of(load(write(tmp_path, kind, name="tickets-a", teams=["datacentre"])))

    (adapter,) = made.tickets.values()
    assert isinstance(adapter, Ticketing)
    assert (adapter.name, adapter.cell) == ("tickets-a", "a")


@pytest.mark.parametrize("kind", WHOLE)
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path, kind)
    (tmp_path / "secret").chmod(0o644)

    with pytest.raises(SettingsError, match=r"tickets\.0\.(token|password)_file: .* can be read by others") as raised:
        destinations_of(load(file))

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        ("jira", {"project": "ops 1"}, r"tickets\.0\.jira\.project: String should match"),
        ("jira", {"user": None}, "user is missing: Jira Cloud wants the account's e-mail address"),
        ("jira", {"fields": {"serial": "a b"}}, "serial: 'a b' is no id of a field, like customfield_10042"),
        ("jira", {"fields": {"serail": "x"}}, "no such fact: serail; there are incident, node,"),
        ("jira", {"labels": ["two words"]}, r"tickets\.0\.jira\.labels\.0"),
        ("jira", {"url": "https://user:pw@host"}, "must hold neither an account nor a query"),
        ("jira", {"priorities": {"fatal": "High"}}, r"tickets\.0\.jira\.priorities\.fatal"),
        ("servicenow", {"assignment_groups": {"a": "Network"}}, r"tickets\.0\.servicenow\.assignment_groups\.a"),
        ("servicenow", {"user": "u"}, "give token_file, or user and password_file, not both"),
        ("servicenow", {"token_file": None}, "an account is missing: give token_file, or user and password_file"),
        ("servicenow", {"open_state": "7"}, "open_state must be none of closed and closed_state"),
        ("servicenow", {"always": {"state": "1"}}, "must leave alone what fleetmend fills itself: state"),
        ("servicenow", {"fields": {"serial": "U-1"}}, "serial: 'U-1' is no name of a column, like u_serial"),
        ("github", {"repository": "fleet"}, r"tickets\.0\.github\.repository"),
        ("github", {"label": "a,b"}, r"tickets\.0\.github\.label"),
        ("gitlab", {"project": "fleet"}, r"tickets\.0\.gitlab\.project"),
        ("request_tracker", {"user": "a:b"}, "user must have no colon"),
        ("request_tracker", {"mark_field": "a'b"}, "without braces, quotes and backslashes"),
        ("request_tracker", {"open_status": "resolved"}, "open_status must be none of closed and closed_status"),
        ("request_tracker", {"queue": None}, r"tickets\.0\.request_tracker\.queue: Field required"),
        ("roundup", {"new_status": "resolved"}, "new_status must be none of closed and closed_status"),
        ("roundup", {"url": "tracker"}, "must be https://host or https://host/path"),
    ],
)
def test_a_mistake_is_said_with_its_key(tmp_path: Path, kind: str, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(write(tmp_path, kind, **changed))


TABLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("table", TABLES, ids=[re.findall(r'kind = "(\w+)"', table)[0] for table in TABLES])
def test_the_tables_of_the_page_are_right(tmp_path: Path, table: str) -> None:
    file = tmp_path / "controller.toml"
    file.write_text(f'state = "{tmp_path}"\n{table}')

    assert load(file).tickets[0].called in WHOLE


def test_the_page_has_a_table_for_each_system() -> None:
    assert {re.findall(r'kind = "(\w+)"', table)[0] for table in TABLES} == set(WHOLE)
