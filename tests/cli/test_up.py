"""`fleetmend up`: what it is asked to do is looked at before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.cell_files import Access, ControllerPlan, write_controller, write_token
from cli.children import Child
from cli.exit_codes import ExitCode
from controller.access.tokens import read
from controller.policy.rules import Budget, Limit
from controller.policy.scopes import Scope
from controller.settings import load
from tests.cli.conftest import run_cli
from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until

HOLD = """\
playbook: hold
summary: A GPU has fallen off the bus.
fault_class: gpu_lost
severity: warning
precedence: 1
mode: ask
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, codes: ["79"]}
guards: {drain: not_needed, reversible: true}
steps:
  - cordon: {on_success: hand_over}
hand_over:
  - ticket: {team: platform}
"""


def test_playbooks_that_cannot_be_used_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "hold.yaml").write_text(HOLD.replace("gpu.xid", "gpu.xdi"))
    result = run_cli("up", "--state", str(tmp_path / "cell"), "--playbooks", str(tmp_path))
    assert result.returncode == ExitCode.CONFIG
    assert f"{tmp_path}/hold.yaml:9: answers[0].check: there is no check `gpu.xdi`" in result.stderr
    assert not (tmp_path / "cell").exists()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (("--broker", "broker.example"), "'broker.example' is not mqtt://host:port or mqtts://host:port"),
        (("--scheduler", "command"), "--scheduler command and --hook PROGRAM belong together"),
        (("--hook", "/bin/true"), "--scheduler command and --hook PROGRAM belong together"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path: Path, wish: tuple[str, ...], said: str) -> None:
    result = run_cli("up", "--state", str(tmp_path / "cell"), *wish)
    assert result.returncode == ExitCode.USAGE
    assert said in result.stderr
    assert not (tmp_path / "cell").exists()


async def test_the_last_words_of_a_child_are_not_those_of_one_before(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("an earlier start\n")
    child = Child("child", "this", (), log)
    await child.start()
    assert child.process is not None
    await child.process.wait()
    await child.stop()
    assert "The Zen of Python" in child.last_words(lines=30)
    assert "an earlier start" not in child.last_words(lines=30)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[limits]]\nscope = 'rak'\nnodes = 1", "limits.0.scope: 'rak' is no scope"),
        ("state = '/elsewhere'", "state: an option of the command line or the cell itself sets it, leave it out"),
        ("limits = [", "not TOML"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "more.toml").write_text(text)
    result = run_cli("up", "--state", str(tmp_path / "cell"), "--settings", str(tmp_path / "more.toml"))
    assert result.returncode == ExitCode.CONFIG
    assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "cell").exists()


def test_a_cluster_that_the_settings_do_not_lead_to_ends_it_as_wrong_settings_do(tmp_path: Path) -> None:
    require_mosquitto()
    (tmp_path / "more.toml").write_text("[kubernetes]\nkubeconfig = '/no/where'")
    more = ("--scheduler", "kubernetes", "--settings", str(tmp_path / "more.toml"), "--port", "0")
    result = run_cli("up", "--state", str(tmp_path / "cell"), *more)
    assert result.returncode == ExitCode.CONFIG
    assert "kubernetes: Configuration file /no/where not found" in result.stderr


def test_more_settings_reach_the_controller(tmp_path: Path) -> None:
    more = {"limits": [{"scope": "rack", "nodes": 1}], "breakers": []}
    plan = ControllerPlan(tmp_path, "127.0.0.1", 1, "none", None, "50%", 1.0, more=more)
    settings = load(write_controller(plan, Access("mqtt://127.0.0.1:1", "", "")))
    assert (settings.limits[0].limit(), settings.breakers) == (Limit(Scope("rack"), Budget(nodes=1)), [])


def test_a_cell_that_asks_who_one_is_lets_in_whoever_started_it_and_nobody_else(tmp_path: Path) -> None:
    require_mosquitto()
    (tmp_path / "more.toml").write_text("[access]\n")
    (tmp_path / "cell").mkdir()
    with EmbeddedCell(tmp_path / "cell", 1, arguments=("--settings", str(tmp_path / "more.toml"))) as cell:
        token = tmp_path / "cell" / "controller" / "token"
        assert f"export FLEETMEND_TOKEN_FILE={token}" in cell.words()
        assert token.stat().st_mode & 0o777 == 0o600
        known, stranger = {"FLEETMEND_URL": cell.url, "FLEETMEND_TOKEN_FILE": str(token)}, {"FLEETMEND_URL": cell.url}
        assert run_cli("access", "whoami", **known).stdout == "up: viewer, operator, admin, approver\n"
        assert run_cli("nodes", **stranger).returncode == ExitCode.FORBIDDEN
        assert run_cli("drill", "app-fault", "--node", "n1", **known).returncode == 0


def test_the_token_of_the_start_before_opens_nothing(tmp_path: Path) -> None:
    plan = ControllerPlan(tmp_path, "127.0.0.1", 1, "none", None, "50%", 1.0, more={"access": {}})
    config = write_controller(plan, Access("mqtt://127.0.0.1:1", "", ""))
    file = write_token(config)
    assert file is not None
    before = file.read_text()
    write_token(config)
    (kept,) = read(tmp_path / "access-tokens.json")
    assert (kept.name, file.read_text() != before) == ("up", True)


def test_playbooks_of_ones_own_answer_in_place_of_fleetmends(tmp_path: Path) -> None:
    require_mosquitto()
    for folder in ("cell", "playbooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "playbooks" / "hold.yaml").write_text(HOLD)
    with EmbeddedCell(tmp_path / "cell", 1, arguments=("--playbooks", str(tmp_path / "playbooks"))) as cell:
        cell.drill("gpu-off-bus", "n1")
        (incident, *_) = until("an incident is open", lambda: cell.incidents("n1"))
    assert (incident["playbook"], incident["state"]) == ("hold", "waiting")
