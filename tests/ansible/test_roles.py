"""The roles for Ansible, by the real one, against the image of a host; on a host with systemd: tests/systemd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.ansible import packages, recap
from tests.support.checkout import ROOT

SITE = ROOT / "ansible" / "site.yml"
KEY = f"{'A' * 16} {'A' * 43}="


def play(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the roles with an Ansible that looks at no settings of whoever runs the tests."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(inventory.parent),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(packages()),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), *arguments, str(SITE)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=environment)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    (root / "etc").mkdir(parents=True)
    return root


def inventory(image: Path, **more: Any) -> Path:
    """Write an inventory in which every host is the image."""
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "fleetmend_program": str(Path(sys.executable).parent / "fleetmend"),
        "fleetmend_root": str(image),
        "fleetmend_controller_host": "",
        "fleetmend_trusted_keys": [KEY],
        "fleetmend_passwords": str(image.parent / "passwords"),
        "fleetmend_broker": "mqtt://broker.example:1883",
        "fleetmend_places": {"rack": "r1"},
        "fleetmend_allow": ["repairs"],
        **more,
    }
    children: dict[str, Any] = {
        "fleetmend_controllers": {"hosts": {"control": {}}},
        "fleetmend_nodes": {"hosts": {"gpu-1": {}}},
    }
    file = image.parent / "hosts.json"
    file.write_text(json.dumps({"all": {"vars": variables, "children": children}}))
    return file


def test_a_fleet_is_set_up_and_the_second_run_changes_nothing(image: Path) -> None:
    hosts = inventory(image)
    first = play(hosts)
    assert recap(first.stdout) == {"control": (1, True), "gpu-1": (2, True)}, first.stdout + first.stderr
    settings = tomllib.loads((image / "etc/fleetmend/agent.toml").read_text())
    assert (settings["node"], settings["places"]) == ("gpu-1", {"rack": "r1"})
    assert settings["trusted_keys"] == {"A" * 16: {"public_key": f"{'A' * 43}="}}
    assert "reboot" in settings["orders_allowed"]
    password = (image.parent / "passwords/gpu-1").read_text().split()[0]
    assert (image / "etc/fleetmend/credentials/fleetmend-agent/broker").read_text() == f"{password}\n"
    assert password not in first.stdout
    second = play(hosts)
    assert recap(second.stdout) == {"control": (0, True), "gpu-1": (0, True)}, second.stdout


def test_what_setup_refuses_fails_with_its_sentence(image: Path) -> None:
    refused = play(inventory(image, fleetmend_node="gpu/1", fleetmend_broker_host=""), "--limit", "gpu-1")
    assert recap(refused.stdout) == {"gpu-1": (0, False)}
    assert "'gpu/1' is not a name of letters" in refused.stdout
    assert not (image / "etc/fleetmend/agent.toml").exists()


def test_a_dry_run_writes_nothing(image: Path) -> None:
    tried = play(inventory(image, fleetmend_broker_host=""), "--check")
    assert recap(tried.stdout) == {"control": (1, True), "gpu-1": (1, True)}, tried.stdout
    assert not (image / "etc/fleetmend").exists()
