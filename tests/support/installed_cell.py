"""A cell of one host as docs/how-to/install.md configures it: broker, controller and one agent, with passwords.

The agent has one check of the site's own, which a file makes ill.
"""

from __future__ import annotations

import json
from typing import Final

from cli.broker import CONTROLLER, access_rules, password_hash
from tests.support.booted import Booted
from tests.support.checkout import ROOT

AGENT: Final = "fleetmend-agent"
BROKER: Final = "fleetmend-broker"
CONTROLLING: Final = "fleetmend-controller"
NODE: Final = "n1"
CANARY: Final = "canary-9f2c"
"""Part of every password, to be found nowhere but where it was put."""

CONTROLLER_CONFIG: Final = "/etc/fleetmend/controller.toml"
AGENT_CONFIG: Final = "/etc/fleetmend/agent.toml"
SETTINGS: Final = {
    CONTROLLER_CONFIG: f"""
        state = "/var/lib/fleetmend"
        [broker]
        url = "mqtt://127.0.0.1:1883"
        username = "{CONTROLLER}"
        password_file = "/run/credentials/{CONTROLLING}.service/secret_broker"
        """,
    AGENT_CONFIG: f"""
        node = "{NODE}"
        [broker]
        url = "mqtt://127.0.0.1:1883"
        username = "{NODE}"
        password_file = "/run/credentials/{AGENT}.service/secret_broker"
        [site]
        interval_s = 1
        fast_interval_s = 1
        deadline_s = 1
        [checks."site.cooling"]
        raise_after = 1
        clear_after = 1
        """,
}
WARM: Final = "/run/warm"
"""While this file is there, the check finds a fault."""

BECAUSE: Final = "the water is warm"
CHECK: Final = f'#!/bin/sh\nif [ -e {WARM} ]; then echo "{BECAUSE}"; exit 2; fi\necho "the water is cold"\n'


def password(user: str) -> str:
    """Return the password of a user of the broker."""
    return f"{CANARY}-{user}"


def know(machine: Booted, *users: str) -> None:
    """Have these users in the broker's file."""
    lines = "".join(f"{user}:{password_hash(password(user), salt=bytes(12))}\n" for user in users)
    machine.write("/etc/fleetmend/broker/passwords", lines, mode=0o640)
    machine.run("chgrp", "fleetmend-broker", "/etc/fleetmend/broker/passwords")


def configure(machine: Booted, *users: str) -> None:
    """Write every file that the cell is configured by; the broker knows these users."""
    machine.write("/etc/fleetmend/broker/mosquitto.conf", (ROOT / "systemd" / "fleetmend-broker.conf").read_text())
    machine.write("/etc/fleetmend/broker/acl", access_rules("main"), mode=0o640)
    machine.run("chgrp", "fleetmend-broker", "/etc/fleetmend/broker/acl")
    know(machine, *users)
    for file, text in SETTINGS.items():
        machine.write(file, text)
    for unit, user in ((CONTROLLING, CONTROLLER), (AGENT, NODE)):
        machine.write(f"/etc/fleetmend/credentials/{unit}/broker", password(user), mode=0o600)
    machine.write("/etc/fleetmend/checks.d/cooling", CHECK, mode=0o755)


def found(machine: Booted) -> list[str]:
    """Return what the site's own check was ill for, each time that the agent's own event of it was stored.

    A level may tell of it, too, and sooner. A container has other findings, all unknown.
    """
    exported = machine.run("runuser", "-u", "fleetmend", "--", "fleetmend", "controller", "export")
    told = [json.loads(line)["data"] for line in exported.splitlines() if '"finding.raised"' in line]
    edges = [each["finding"] for each in told if each["origin"] == "edge"]
    return [each["because"] for each in edges if each["check"] == "site.cooling"]


def opened(machine: Booted) -> list[str]:
    """Return the incidents of the site's own check.

    The kernel's log is that of the whole machine: what another test does to a disk may be an incident, too.
    """
    return [each["id"] for each in machine.answer("incidents") if each["fault_class"] == "site"]
