"""`fleetmend playbook`: checks and shows playbooks without a controller."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import playbooks
from cli.exit_codes import ExitCode
from controller.playbooks import load_default
from tests.cli.conftest import run_cli

SHIPPED = Path(playbooks.__file__).parent


def test_the_playbooks_that_come_with_fleetmend_are_right() -> None:
    result = run_cli("playbook", "lint")
    assert (result.returncode, result.stdout) == (0, f"{len(load_default())} playbooks are right.\n")


def test_every_problem_of_a_directory_is_reported_with_file_and_line_and_exit_code_78(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "gpu_lost.yaml", tmp_path / "gpu_lost.yaml")
    assert run_cli("playbook", "lint", str(tmp_path)).returncode == 0
    text = (tmp_path / "gpu_lost.yaml").read_text()
    (tmp_path / "gpu_lost.yaml").write_text(text + "\nunheard_of: 1\n")
    (tmp_path / "second.yaml").write_text("steps: [\n")
    for command in (("lint", str(tmp_path)), ("list", "--directory", str(tmp_path))):
        result = run_cli("playbook", *command)
        assert (result.returncode, result.stdout) == (ExitCode.CONFIG, "")
        assert f"{tmp_path / 'gpu_lost.yaml'}:{text.count(chr(10)) + 2}: " in result.stderr
        assert str(tmp_path / "second.yaml") in result.stderr


def test_a_step_that_nothing_leads_to_is_refused_by_name_and_line(tmp_path: Path) -> None:
    text = (SHIPPED / "gpu_lost.yaml").read_text().replace("on_failure: power_cycle}", "on_failure: verify}")
    (tmp_path / "gpu_lost.yaml").write_text(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "power_cycle:" in each)

    result = run_cli("playbook", "lint", str(tmp_path))

    assert (result.returncode, result.stdout) == (ExitCode.CONFIG, "")
    assert f"gpu_lost.yaml:{line}: steps[" in result.stderr and "nothing leads to `power_cycle`" in result.stderr


def test_the_list_is_in_order_of_precedence() -> None:
    listed = json.loads(run_cli("playbook", "list", "--json").stdout)
    assert {row["name"] for row in listed} == {book.name for book in load_default()}
    assert [row["precedence"] for row in listed] == sorted(row["precedence"] for row in listed)
    assert next(row for row in listed if row["name"] == "gpu_lost")["answers"][0].startswith("gpu.xid 79")
    table = run_cli("playbook", "list").stdout
    assert all(row["name"] in table for row in listed)


def test_one_playbook_is_shown_in_words() -> None:
    result = run_cli("playbook", "show", "gpu_lost")
    assert result.returncode == 0 and "reboot" in result.stdout and "cordon" in result.stdout


def test_an_unknown_playbook_and_a_directory_that_is_none() -> None:
    result = run_cli("playbook", "show", "gpu_found")
    assert (result.returncode, result.stdout) == (ExitCode.NO, "")
    assert "no playbook is called 'gpu_found'; there are agent_lost" in result.stderr
    missing = run_cli("playbook", "lint", "nowhere-at-all")
    assert (missing.returncode, missing.stderr) == (ExitCode.NO_INPUT, "fleetmend: nowhere-at-all is not a directory\n")
