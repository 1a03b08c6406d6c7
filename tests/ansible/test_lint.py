"""The roles as ansible-lint judges them, by the profile for what is run in production (.ansible-lint)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.ansible import packages
from tests.support.checkout import ROOT

pytestmark = pytest.mark.timeout(180)


def lint(project: Path) -> subprocess.CompletedProcess[str]:
    """Look at a project's roles, by no settings of whoever runs the tests, and fetching nothing."""
    programs = packages().parents[2] / "bin"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(project), "LC_ALL": "C.UTF-8"}
    command = [str(programs / "ansible-lint"), "--strict", "--nocolor", "--config-file", ".ansible-lint", "ansible"]
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=170
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what is looked at: caches and the like do not come into the checkout."""
    for name in (".ansible-lint", "ansible"):
        subprocess.run(["cp", "-r", ROOT / name, tmp_path / name], check=True)
    return tmp_path


def test_there_is_nothing_to_say_of_the_roles_and_a_mistake_is_said(project: Path) -> None:
    found = lint(project)
    assert found.returncode == 0, found.stdout + found.stderr
    tasks = project / "ansible" / "roles" / "fleetmend_agent" / "tasks" / "main.yml"
    tasks.write_text(tasks.read_text() + "- name: open the door\n  ansible.builtin.shell: systemctl restart sshd\n")
    found = lint(project)
    assert found.returncode != 0
    assert {"command-instead-of-module", "no-changed-when", "name[casing]"} <= {
        word.partition(":")[0] for line in found.stdout.splitlines() for word in line.split()
    }
