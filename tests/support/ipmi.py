"""A BMC for tests: OpenIPMI's ipmi_sim, spoken to by the real ipmitool over the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.ports import free_ports
from tests.support.parts import missing
from tests.support.surroundings import write_program

LAN = """
name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis} 0x20"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "operator" "test" admin 10 none md2 md5 straight
"""
EMULATION = """
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


CHASSIS = """#!/bin/sh
# What ipmi_sim runs for the chassis: `get power`, `set power 0|1`, `set reset 1`; it writes down what was done.
cd {folder} || exit 1
shift
case "$1 $2 $3" in
"get power "*) echo "power:$(cat power)" ;;
"set power 0") echo off >> did; echo 0 > power ;;
"set power 1") echo on >> did; echo 1 > power ;;
"set reset "*) echo reset >> did ;;
esac
"""


@dataclass(frozen=True)
class Host:
    """A simulated BMC with a host behind it.

    Attributes:
        power: file that holds 1 or 0.
        did: file of what was done to the host, a line for each.
    """

    folder: Path
    address: str
    tools: Path
    user: str = "operator"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def power(self) -> Path:
        return self.folder / "power"

    @property
    def did(self) -> Path:
        return self.folder / "did"

    def done(self) -> list[str]:
        """Return what was done to the host, oldest first."""
        return self.did.read_text().split()

    def log_event(self, event: str) -> None:
        """Write an entry into the event log."""
        log_events(self.tools, event)


@contextmanager
def running_bmc(folder: Path) -> Iterator[Path]:
    """Give a folder of programs whose `ipmitool` speaks to a simulated BMC, and end that."""
    with running_host(folder) as host:
        yield host.tools


@contextmanager
def running_host(folder: Path) -> Iterator[Host]:
    """Give a simulated BMC whose host can be switched, and end it."""
    simulator, tool = (shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("ipmi_sim", "ipmitool"))
    if simulator is None or tool is None:
        missing("ipmitool, or openipmi,")
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    (folder / "state").mkdir(parents=True)
    chassis = folder / "chassis"
    chassis.write_text(CHASSIS.format(folder=folder))
    chassis.chmod(0o755)
    (folder / "lan.conf").write_text(LAN.format(port=port, chassis=chassis))
    (folder / "bmc.emu").write_text(EMULATION)
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text("test\n")
    (folder / "power").write_text("1")
    (folder / "did").write_text("")
    files = ("-c", f"{folder}/lan.conf", "-f", f"{folder}/bmc.emu", "-s", f"{folder}/state")
    command = [simulator, *files, "-n"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    over_lan = f"{tool} -I lanplus -C 3 -H 127.0.0.1 -p {port} -U operator -P test"
    program = write_program(folder / "bin", "ipmitool", f'exec {over_lan} "$@"')
    try:
        _wait_for(program)
        yield Host(folder, f"127.0.0.1:{port}", program.parent)
    finally:
        # It takes no notice of SIGTERM.
        process.kill()
        process.wait(timeout=10)


def log_events(tools: Path, *events: str) -> None:
    """Write entries into the event log, each as bytes in the form of `ipmitool sel add`."""
    path = tools / "events.txt"
    path.write_text("".join(f"{event}\n" for event in events))
    subprocess.run([tools / "ipmitool", "sel", "add", path], check=True, capture_output=True)


def _wait_for(program: Path) -> None:
    end = time.monotonic() + 20.0
    while subprocess.run([program, "mc", "info"], capture_output=True, check=False).returncode:
        assert time.monotonic() < end, "the simulated BMC does not answer"
