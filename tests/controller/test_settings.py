"""The controller's configuration file: every problem at once, with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.policy.rules import Budget
from controller.settings import SettingsError, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "controller.toml"
    path.write_text(text)
    return path


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    settings = load(written(tmp_path, f'state = "{tmp_path}"'))
    assert (settings.http.port, settings.scheduler.kind, settings.budget.budget()) == (8642, "none", Budget(percent=10))


def test_the_nodes_of_a_clustered_broker_are_a_list(tmp_path: Path) -> None:
    settings = load(written(tmp_path, f'state = "{tmp_path}"\n[broker]\nurl = ["mqtt://a", "mqtt://b"]'))
    assert settings.broker.url == ("mqtt://a", "mqtt://b")


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    text = """
    cell = "with space"
    [http]
    port = 99999
    [scheduler]
    kind = "k8s"
    [budget]
    percentage = 10
    """
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, text))
    told = str(caught.value)
    for what in ("state: Field required", "http.port:", "scheduler.kind:", "budget.percentage:"):
        assert f"controller.toml: {what}" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[scheduler]\nkind = "command"', "kind = 'command' needs hook"),
        ('[pages]\nkind = "webhook"', "kind = 'webhook' needs url"),
        ("[budget]\nnodes = 1\npercent = 5", "set nodes or percent, not both"),
        ("[budget", "not TOML"),
        ('[broker]\nurl = "http://a"', r"controller\.toml: broker\.url: .*'http://a' is not mqtt://host:port"),
        ('[broker]\nurl = ["mqtt://a", "mqtt://b?v=4"]', r"broker\.url: .*'mqtt://b\?v=4': v=4 is neither 5"),
    ],
)
def test_what_is_right_is_said(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(written(tmp_path, f'state = "{tmp_path}"\n{text}'))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("budget", "fleet", "limit"),
    [(Budget(nodes=3), 1000, 3), (Budget(percent=10), 100, 10), (Budget(percent=10), 9, 1), (Budget(nodes=0), 9, 0)],
)
def test_a_share_is_rounded_down_but_leaves_one(budget: Budget, fleet: int, limit: int) -> None:
    assert budget.limit(fleet) == limit
