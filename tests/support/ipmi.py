"""A BMC for tests: OpenIPMI's ipmi_sim, spoken to by the real ipmitool over the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "operator" "test" admin 10 none md2 md5 straight
"""
EMULATION = """
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


@contextmanager
def running_bmc(folder: Path) -> Iterator[Path]:
    """Give a folder of programs whose `ipmitool` speaks to a simulated BMC, and end that."""
    simulator, tool = (shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("ipmi_sim", "ipmitool"))
    if simulator is None or tool is None:
        missing("ipmitool, or openipmi,")
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    (folder / "state").mkdir(parents=True)
    (folder / "lan.conf").write_text(LAN.format(port=port))
    (folder / "bmc.emu").write_text(EMULATION)
    files = ("-c", f"{folder}/lan.conf", "-f", f"{folder}/bmc.emu", "-s", f"{folder}/state")
    command = [simulator, *files, "-n"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    over_lan = f"{tool} -I lanplus -C 3 -H 127.0.0.1 -p {port} -U operator -P test"
    program = write_program(folder / "bin", "ipmitool", f'exec {over_lan} "$@"')
    try:
        _wait_for(program)
        yield program.parent
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
