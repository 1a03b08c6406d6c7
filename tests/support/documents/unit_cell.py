"""A cell as docs/how-to/install.md leaves a host: broker, controller and agent by their units, with their settings."""

from __future__ import annotations

from typing import Final

from cli.broker import CONTROLLER, access_rules, password_hash
from tests.support.booted import Booted
from tests.support.checkout import ROOT

NODE: Final = "n1"
PASSWORD: Final = "only on the loopback of a container"
UNITS: Final = ("fleetmend-broker", "fleetmend-controller", "fleetmend-agent")

SETTINGS: Final = {
    "controller": 'state = "/var/lib/fleetmend"\n',
    "agent": f'node = "{NODE}"\n',
}


def start_cell(machine: Booted) -> None:
    """Install it and start it."""
    users = {"controller": CONTROLLER, "agent": NODE}
    for part, user in users.items():
        machine.write(f"/etc/fleetmend/{part}.toml", SETTINGS[part] + _broker(user, part))
        drop_in = (ROOT / "systemd" / "credentials.conf").read_text()
        machine.write(f"/etc/systemd/system/fleetmend-{part}.service.d/credentials.conf", drop_in)
        machine.write(f"/etc/fleetmend/credentials/fleetmend-{part}/broker", PASSWORD, mode=0o600)
    known = "".join(f"{user}:{password_hash(PASSWORD, salt=bytes(12))}\n" for user in users.values())
    machine.write("/etc/fleetmend/broker/mosquitto.conf", (ROOT / "systemd" / "fleetmend-broker.conf").read_text())
    for name, text in {"acl": access_rules("main"), "passwords": known}.items():
        machine.write(f"/etc/fleetmend/broker/{name}", text, mode=0o640)
        machine.run("chgrp", "fleetmend-broker", f"/etc/fleetmend/broker/{name}")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", *UNITS)


def _broker(user: str, part: str) -> str:
    credential = f"/run/credentials/fleetmend-{part}.service/secret_broker"
    return f'[broker]\nurl = "mqtt://127.0.0.1:1883"\nusername = "{user}"\npassword_file = "{credential}"\n'
