"""A host enrols at a controller in its sandbox, and renews in one: as each of their own users, by their units."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.support.booted import Booted

CONTROLLING: Final = "fleetmend-controller"
RENEW: Final = "fleetmend-renew"
URL: Final = "http://127.0.0.1:8642"
FOLDER: Final = "/etc/fleetmend/agent"
CONFIG: Final = """
state = "/var/lib/fleetmend"
[broker]
url = "mqtt://127.0.0.1:1"
[enrolment]
broker_url = "mqtts://127.0.0.1:8883"
"""
FILES: Final = ("ca.pem", "certificate.pem", "key.pem")


@pytest.fixture(scope="module")
def enrolled(machine: Booted) -> Booted:
    """Do what docs/how-to/enrol-hosts.md says."""
    machine.write("/etc/fleetmend/controller.toml", CONFIG)
    machine.run("fleetmend", "pki", "init")
    machine.run("systemctl", "start", CONTROLLING)
    machine.run("fleetmend", "enrol", "token", "make", "--node", "gpu-1", "-o", "/run/token")
    machine.run("fleetmend", "enrol", "--controller", URL, "--token-file", "/run/token", "--node", "gpu-1")
    return machine


def serial(machine: Booted) -> str:
    (row,) = json.loads(machine.run("fleetmend", "pki", "show", "--json"))["certificates"][-1:]
    return str(row["serial"])


def test_what_it_got_belongs_to_the_agent_and_is_read_by_it(enrolled: Booted) -> None:
    told = enrolled.run("stat", "--format=%U %a %n", FOLDER, *(f"{FOLDER}/{name}" for name in FILES))
    assert told.splitlines() == [
        f"fleetmend-agent 700 {FOLDER}",
        f"fleetmend-agent 644 {FOLDER}/ca.pem",
        f"fleetmend-agent 644 {FOLDER}/certificate.pem",
        f"fleetmend-agent 600 {FOLDER}/key.pem",
    ]
    assert enrolled.run("stat", "--format=%U %a", "/etc/fleetmend/agent.toml") == "root 644\n"
    checked = ("fleetmend-agent", "--config", "/etc/fleetmend/agent.toml", "--check")
    assert enrolled.run("runuser", "-u", "fleetmend-agent", "--", *checked).endswith("valid\n")


def test_it_has_nothing_to_do_for_twenty_days(enrolled: Booted) -> None:
    before = serial(enrolled)
    enrolled.run("systemctl", "start", RENEW)
    assert "it is renewed from" in enrolled.said(RENEW)
    assert (enrolled.show(RENEW, "Result"), serial(enrolled)) == ("success", before)


def test_it_renews_in_its_sandbox(enrolled: Booted) -> None:
    before = enrolled.path(f"{FOLDER}/certificate.pem").read_bytes()
    drop_in = f"/etc/systemd/system/{RENEW}.service.d/now.conf"
    enrolled.write(drop_in, "[Service]\nExecStart=\nExecStart=/opt/fleetmend/venv/bin/fleetmend enrol renew --force\n")
    enrolled.run("systemctl", "daemon-reload")
    enrolled.run("systemctl", "start", RENEW)
    assert enrolled.show(RENEW, "Result") == "success"
    assert enrolled.path(f"{FOLDER}/certificate.pem").read_bytes() != before
    enrolled.run("systemctl", "stop", CONTROLLING)
    down = enrolled.ended("systemctl", "start", RENEW)
    assert (down.returncode, enrolled.show(RENEW, "ExecMainStatus")) == (1, "69")
    assert "the timer tries again" in enrolled.said(RENEW)
    enrolled.run("systemctl", "reset-failed", RENEW)
    enrolled.path(drop_in).unlink()


def test_the_timer_waits_for_its_time(enrolled: Booted) -> None:
    enrolled.run("systemctl", "daemon-reload")
    enrolled.run("systemctl", "start", f"{RENEW}.timer")
    shown = [enrolled.show(f"{RENEW}.timer", key) for key in ("SubState", "RandomizedDelayUSec", "Persistent")]
    assert shown == ["waiting", "6h", "yes"]


def test_a_host_that_never_enrolled_is_left_alone(enrolled: Booted) -> None:
    enrolled.path(f"{FOLDER}/certificate.pem").unlink()
    enrolled.run("systemctl", "start", RENEW)
    assert enrolled.show(RENEW, "ConditionResult") == "no"
