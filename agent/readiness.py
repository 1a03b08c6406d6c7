"""Telling systemd that the agent is up, alive, or going down.

systemd listens on a datagram socket named in the environment; outside systemd there is none and nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"
"""Source: sd_notify(3), "Well-known assignments"."""


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
