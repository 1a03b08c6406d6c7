"""A host enrols at a controller in its sandbox, and renews in one: as each of their own users, by their units.

What is typed is the text of docs/how-to/enrol-hosts.md.
"""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.support.booted import Booted
from tests.support.documents.places import InContainer
from tests.support.documents.running import Walk

PAGE: Final = "docs/how-to/enrol-hosts.md"
CONTROLLING: Final = "fleetmend-controller"
RENEW: Final = "fleetmend-renew"
FOLDER: Final = "/etc/fleetmend/agent"
FILES: Final = ("ca.pem", "certificate.pem", "key.pem")
NAMES: Final = "127.0.0.1 localhost fleet.example broker.example\n"
BROKER: Final = """
set -e
cd /etc/fleetmend/broker
fleetmend pki issue broker --host broker.example --output .
fleetmend pki broker-config --output .
cp /opt/fleetmend/checkout/systemd/fleetmend-broker.conf mosquitto.conf
sed -i '/^# begin: by password/,/^# end: by password/d' mosquitto.conf
cat tls.conf >> mosquitto.conf
systemctl start fleetmend-broker
"""
"""What the page takes for granted: the next one, certificates.md, says it."""


@pytest.fixture(scope="module")
def page() -> Walk:
    """The page, from its top to its end."""
    return Walk(PAGE, __file__)


@pytest.fixture(scope="module")
def enrolled(machine: Booted, page: Walk) -> Booted:
    """Do what the page says of the controller's host, and of one host."""
    place = InContainer(machine)
    machine.write("/etc/hosts", NAMES)
    page.next("fleetmend pki init", place)
    page.next("# /etc/fleetmend/controller.toml", place)
    machine.run("bash", "-c", BROKER)
    page.next("systemctl restart fleetmend-controller", place)
    page.next("fleetmend enrol token make --node", place)
    page.next("fleetmend enrol --controller", place)
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


def test_its_agent_is_let_in_by_its_certificate(enrolled: Booted) -> None:
    enrolled.until(lambda: "broker.connected" in enrolled.said("fleetmend-agent"))


def test_a_token_is_made_for_many_and_a_host_looks_after_its_certificate(enrolled: Booted, page: Walk) -> None:
    place = InContainer(enrolled)
    page.next("fleetmend enrol token make --nodes", place)
    enrolled.run("systemctl", "start", RENEW)
    page.next("systemctl list-timers", place)


def test_people_act_by_their_tokens_and_two_end_a_pause_of_the_fleet(enrolled: Booted) -> None:
    access, place = Walk("docs/how-to/access.md", __file__), InContainer(enrolled)
    access.next("export FLEETMEND_URL", place)
    access.next("fleetmend resume fleet", place)
    assert access.left == []


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


def test_tokens_are_listed_and_revoked_and_a_host_goes(enrolled: Booted, page: Walk) -> None:
    page.next("fleetmend enrol token list", InContainer(enrolled))
    assert page.left == []
