"""A BMC for tests that others wrote: OpenStack's Redfish emulator (sushy-tools), over TLS with an account."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bcrypt

from agent.sources.redfish_access import RedfishAccess
from cli.ports import free_ports
from tests.support.redfish import PASSWORD, USER, write_certificate

CONFIGURATION = """
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}
SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = {port}
SUSHY_EMULATOR_SSL_CERT = "{folder}/cert.pem"
SUSHY_EMULATOR_SSL_KEY = "{folder}/key.pem"
SUSHY_EMULATOR_AUTH_FILE = "{folder}/accounts"
SUSHY_EMULATOR_STATE_DIR = "{folder}"
SUSHY_EMULATOR_FEATURE_SET = "full"
EXTERNAL_NOTIFICATION_URL = {notify!r}
"""

SOONER = """
import random, sys
# A change of power takes 1 to 11 s in the emulator, at random; here each takes as little as it may.
random.randint = lambda least, most: least
from sushy_tools.emulator.main import main
sys.exit(main())
"""


@contextmanager
def running_emulator(folder: Path, hosts: Sequence[str] = ("n1",), *, notify: str = "") -> Iterator[RedfishAccess]:
    """Give the way to an emulated BMC of these hosts, and end it.

    Args:
        notify: where each change of power is put (HTTP PUT).
    """
    folder.mkdir()
    (port,) = free_ports(1)
    write_certificate(folder)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "accounts").write_text(f"{USER}:{hashed}\n")
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text(PASSWORD)
    nics = [{"mac": "52:54:00:00:00:01", "ip": "127.0.0.1"}]
    host = {"power_state": "On", "nics": nics, "external_notifier": bool(notify)}
    systems = [{**host, "uuid": system_id(number), "name": name} for number, name in enumerate(hosts, 1)]
    configuration = folder / "emulator.conf"
    configuration.write_text(CONFIGURATION.format(systems=systems, port=port, folder=folder, notify=notify))
    program = (sys.executable, "-c", SOONER)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*program, "--config", configuration], stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield RedfishAccess(f"https://127.0.0.1:{port}", USER, folder / "password", folder / "cert.pem")
    finally:
        process.terminate()
        process.wait(timeout=10)


def system_id(number: int) -> str:
    """Return the id of a host by its place among them, from 1."""
    return f"00000000-0000-0000-0000-{number:012}"


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30.0
    while True:
        assert process.poll() is None, "the emulator ended"
        assert time.monotonic() < end, "the emulator does not listen"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
