"""Telling systemd that a daemon is up, alive, reading its settings anew, or going down.

systemd listens on a datagram socket named in the environment; outside systemd there is none and nothing is sent. It
stands on this floor because agent and controller never import each other and must not differ in this.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

READY: Final = "READY=1"
RELOADING: Final = "RELOADING=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"
"""Source: sd_notify(3), "Well-known assignments"."""

OF_THE_DAEMON_ALONE: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY")
"""Kept from the programs that a daemon runs: they neither speak to systemd in its name nor learn where secrets lie.
Source: systemd, sd_notify(3), systemd.exec(5)."""

STANDARD_ERROR: Final = 2
"""Its descriptor. Source: POSIX."""

STATUS_LENGTH: Final = 200
"""Characters of a status, which is one line of `systemctl status`. Source: our choice."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The line to systemd.

    Attributes:
        address: of its socket, empty when systemd did not start this process.
        watchdog_interval_s: how often to feed the watchdog, 0.0 when there is none.
    """

    address: str
    watchdog_interval_s: float = 0.0

    def tell(self, *assignments: str) -> None:
        """Send the assignments. An absent or full socket is no reason to stop working."""
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to_systemd:
            try:
                to_systemd.sendto("\n".join(assignments).encode(), name)
            except OSError:
                return


def stay_until_ready() -> None:
    """Keep a daemon that is being put together from ending of a SIGHUP, and say where it was when it is aborted.

    systemd's watchdog aborts a daemon that hangs: the stack of every thread goes to standard error then.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    faulthandler.enable(STANDARD_ERROR)


def status(sentence: str) -> str:
    """Return the assignment that shows a sentence in `systemctl status`, on one line whatever is in it."""
    return f"STATUS={' '.join(sentence.split())[:STATUS_LENGTH]}"


def for_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is the daemon's alone, for a program that it runs."""
    return {name: value for name, value in environment.items() if name not in OF_THE_DAEMON_ALONE}


def from_environment(environment: Mapping[str, str], *, process_id: int) -> Readiness:
    """Return the line that systemd's variables describe for this process.

    Half of `WATCHDOG_USEC` is the interval. Source: sd_watchdog_enabled(3).
    """
    address = environment.get("NOTIFY_SOCKET", "")
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", "") or str(process_id)
    if not microseconds.isdigit() or meant_for != str(process_id):
        return Readiness(address)
    return Readiness(address, int(microseconds) / 1e6 / 2)


def of_this_process() -> Readiness:
    """Return the line of the running process."""
    return from_environment(os.environ, process_id=os.getpid())
