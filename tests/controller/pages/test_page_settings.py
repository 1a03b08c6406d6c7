"""The tables of ways to page people, from a file to the adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.notices.choosing import destinations_of
from controller.notices.secret import read_secret, read_secrets
from controller.pages.alertmanager import Alertmanager
from controller.pages.chat import ChatNotifier
from controller.pages.opsgenie import Opsgenie
from controller.pages.pagerduty import PagerDuty
from controller.settings import ControllerSettings, SettingsError, load

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ALL = """
state = "{folder}"

[[pages]]
kind = "alertmanager"
urls = ["https://am-1.acme.example:9093", "https://am-2.acme.example:9093"]
token_file = "{folder}/secret"
severities = ["critical"]
escalate_after_s = 900
escalate_to = "boss"

[[pages]]
kind = "pagerduty"
name = "boss"
routing_key_file = "{folder}/secret"
token_file = "{folder}/secret"
escalation_only = true

[[pages]]
kind = "opsgenie"
token_file = "{folder}/secret"
responders = {{datacentre = "DC hands"}}

[[pages]]
kind = "chat"
urls_file = "{folder}/urls"
teams = ["network"]
"""


def settings_of(folder: Path, text: str = ALL) -> ControllerSettings:
    path = folder / "controller.toml"
    path.write_text(text.format(folder=folder))
    return load(path)


def put(folder: Path, name: str, text: str, mode: int = 0o600) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)


def test_every_kind_becomes_its_adapter(tmp_path: Path) -> None:
    put(tmp_path, "secret", "s3cret\n")
    put(tmp_path, "urls", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ\n")
    pages = destinations_of(settings_of(tmp_path)).pages

    assert {name: type(adapter) for name, adapter in pages.items()} == {
        "alertmanager": Alertmanager,
        "boss": PagerDuty,
        "opsgenie": Opsgenie,
        "chat": ChatNotifier,
    }
    assert [adapter.name for adapter in pages.values()] == list(pages)
    assert [adapter.repeatable for adapter in pages.values()] == [True, True, True, False]


def test_every_secret_that_cannot_be_read_is_said_at_once_with_its_key(tmp_path: Path) -> None:
    put(tmp_path, "secret", "s3cret\n", mode=0o640)
    with pytest.raises(SettingsError) as raised:
        destinations_of(settings_of(tmp_path))

    assert str(raised.value).splitlines() == [
        f"pages.0.token_file: {tmp_path}/secret can be read by others than its owner: chmod 600 {tmp_path}/secret",
        f"pages.1.routing_key_file: {tmp_path}/secret can be read by others than its owner: "
        f"chmod 600 {tmp_path}/secret",
        f"pages.2.token_file: {tmp_path}/secret can be read by others than its owner: chmod 600 {tmp_path}/secret",
        f"pages.3.urls_file: {tmp_path}/urls cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[pages]]\nkind = "pager"', "pages.0: Input tag 'pager' found using 'kind' does not match"),
        ('[[pages]]\nkind = "pagerduty"', "pages.0.pagerduty.routing_key_file: Field required"),
        ('[[pages]]\nkind = "opsgenie"\ntoken_file = "x"\nurl = "api.opsgenie.com"', "must be https://host"),
        ('[[pages]]\nkind = "chat"\nurls_file = "x"\nurls = ["slack://a/b/c"]', "no such key here"),
        ('[[pages]]\nkind = "chat"\nurls_file = "x"\nseverities = ["high"]', "pages.0.chat.severities.0"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        settings_of(tmp_path, f'state = "{{folder}}"\n{text}')


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n# nothing\n", "is empty"),
        (b"s3cret\nand more\n", "must hold one line and nothing else"),
        (b"\xff\xfe", "is no text"),
        (b"s3cret\x00\n", "characters that cannot be printed"),
    ],
)
def test_a_file_that_holds_no_secret_is_said_without_it(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=f"token_file: .*{why}") as raised:
        read_secret(path, "token_file")

    assert "s3cret" not in str(raised.value)


def test_a_credential_of_systemd_looks_like_one_that_a_group_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "secret", "s3cret", mode=0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secrets(tmp_path / "secret", "token_file") == ["s3cret"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/another")
    with pytest.raises(SettingsError, match="can be read by others"):
        read_secrets(tmp_path / "secret", "token_file")
