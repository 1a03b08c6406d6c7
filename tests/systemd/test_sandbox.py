"""What the sandbox of a unit forbids is forbidden: shown inside it, and done outside of it to show that it could be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.support import sandbox_probe
from tests.support.booted import Booted
from tests.support.checkout import ROOT

PROBE: Final = "/usr/local/lib/probe.py"
PYTHON: Final = "/usr/bin/python3 -I"
SAID: Final = "/run/probe.json"

COULD_NOT: Final = {"load a module": {"EPERM", "ENOSYS", "ENOEXEC", "EFAULT"}}
"""Where not even root outside a sandbox gets to the end, what it meets there."""

EVERY_DAEMON: Final = {
    "write below /etc": "EROFS",
    "write below /usr": "EROFS",
    "write below /var": "EROFS",
    "write below /home": "EACCES",
    "read below /root": "EACCES",
    "write a kernel setting": "EACCES",
    "read another daemon's secret": "EACCES",
    "load a module": "EPERM",
    "trace a process": "EPERM",
    "make a namespace": "EPERM",
    "mount": "EPERM",
    "rename the host": "EPERM",
    "talk to the link layer": "EAFNOSUPPORT",
    "talk netlink": "EAFNOSUPPORT",
    "talk to a virtual machine's host": "EAFNOSUPPORT",
    "run memory it wrote": "done",
    "leave a program that becomes it": "EPERM",
    "become root": "EPERM",
    "change the owner of a file": "EPERM",
    "look at other processes": "ENOENT",
    "read the kernel log": "ENOENT",
    "open a device": "ENOENT",
}

AGENT: Final = {
    # Each of these is what it is there for, or does not do without; the unit says why.
    "talk netlink": "done",
    "look at other processes": "done",
    "read the kernel log": "done",
    "open a device": "done",
    # It may look there, and programs that it runs may give what is theirs to themselves.
    "write below /home": "EROFS",
    "change the owner of a file": "done",
}

DIFFERENT: Final[dict[str, dict[str, str]]] = {
    "fleetmend-controller": {},
    "fleetmend-broker": {"run memory it wrote": "EPERM", "write a kernel setting": "ENOENT"},
    "fleetmend-backup": {"run memory it wrote": "EPERM", "write a kernel setting": "ENOENT"},
    # It may write in its one folder, and has no other.
    "fleetmend-renew": {
        "run memory it wrote": "EPERM",
        "write a kernel setting": "ENOENT",
        "leave a program that becomes it": "EACCES",
    },
    "fleetmend-agent": AGENT,
}

REPAIRS: Final = {
    # It is root; that it may load a module is compared with what comes of that outside.
    "become root": "done",
    "write a kernel setting": "done",
    "read below /root": "done",
    "read another daemon's secret": "done",
}


@pytest.fixture(scope="module")
def prepared(machine: Booted) -> Booted:
    machine.write(PROBE, Path(sandbox_probe.__file__).read_text())
    machine.write("/etc/fleetmend/credentials/other/password", "secret")
    machine.write("/etc/fleetmend/broker/mosquitto.conf", "")
    machine.write("/etc/fleetmend/agent/certificate.pem", "")
    machine.run("install", "-m", "4755", "/usr/bin/id", "/usr/local/bin/become-root")
    machine.run("mknod", "/dev/probe", "c", "1", "3")
    return machine


def tried_in(machine: Booted, unit: str) -> dict[str, str]:
    """Return how each act went in the sandbox of a unit, which is all that the unit keeps."""
    lines = [
        "[Service]",
        "Type=oneshot",
        "ExecStart=",
        f"ExecStart={PYTHON} {PROBE}",
        "Restart=no",
        "WatchdogSec=0",
        f"StandardOutput=truncate:{SAID}",
    ]
    drop_in = f"/etc/systemd/system/{unit}.service.d/probe.conf"
    machine.write(drop_in, "\n".join(lines))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", unit)
    machine.path(drop_in).unlink()
    found: dict[str, str] = json.loads(machine.path(SAID).read_text())
    return found


def test_outside_of_a_sandbox_all_of_it_can_be_done(prepared: Booted) -> None:
    tried = json.loads(prepared.run(*PYTHON.split(), PROBE))
    for path in ("/etc/fleetmend/probe", "/usr/local/lib/probe", "/var/lib/probe", "/home/probe"):
        prepared.path(path).unlink()
    could_not = {act: result for act, result in tried.items() if result not in COULD_NOT.get(act, {"done"})}
    assert (could_not, set(sandbox_probe.ACTS)) == ({}, set(tried))
    assert prepared.run("setpriv", "--reuid=65534", "/usr/local/bin/become-root", "-u").strip() == "0"


@pytest.mark.parametrize("unit", DIFFERENT)
def test_inside_it_cannot(prepared: Booted, unit: str) -> None:
    assert EVERY_DAEMON | DIFFERENT[unit] == tried_in(prepared, unit)


def test_an_agent_that_repairs_can_do_that_and_no_more(prepared: Booted) -> None:
    drop_in = "/etc/systemd/system/fleetmend-agent.service.d/repairs.conf"
    prepared.write(drop_in, (ROOT / "systemd" / "repairs.conf").read_text())
    tried = tried_in(prepared, "fleetmend-agent")
    prepared.path(drop_in).unlink()
    outside = json.loads(prepared.run(*PYTHON.split(), PROBE))
    assert EVERY_DAEMON | AGENT | REPAIRS | {"load a module": outside["load a module"]} == tried


def test_every_unit_with_a_user_of_its_own_is_tried() -> None:
    ours = {unit.stem for unit in (ROOT / "systemd").glob("*.service") if "\nUser=" in unit.read_text()}
    assert ours == set(DIFFERENT)
