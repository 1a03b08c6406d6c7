"""`kernel_log`: whether the agent may read what the kernel says, which is where most faults of GPUs are told first."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import AGENT, CannotLook, Check, Diagnosis, Role, fine, missing
from cli.doctor.patient import Patient
from cli.setting_up import agent

ASK_S = 10.0
CAPABILITY = "cap_syslog"


@dataclass(frozen=True, slots=True)
class KernelLog:
    """The kernel log, and who reads it.

    Attributes:
        restricted: whether it takes CAP_SYSLOG to read it.
        user: whom the agent runs as.
        capabilities: what its unit gives it, in small letters.
    """

    path: str
    is_there: bool
    restricted: bool
    user: str
    capabilities: frozenset[str]


def read(patient: Patient) -> KernelLog:
    """Return how the kernel log is, and what the agent's unit may.

    Raises:
        CannotLook: systemd does not say.
    """
    table = patient.documents[Role.AGENT].get("kernel_log", {})
    path = str(table.get("path", "/dev/kmsg"))
    restricted = patient.place.at("/proc/sys/kernel/dmesg_restrict")
    user, capabilities = rights_of_agent()
    return KernelLog(
        path=path,
        is_there=patient.place.at(path).exists(),
        restricted=restricted.read_text("ascii").strip() != "0" if restricted.exists() else False,
        user=user,
        capabilities=capabilities,
    )


def rights_of_agent() -> tuple[str, frozenset[str]]:
    """Return whom the agent runs as, and the capabilities that its unit gives it, in small letters.

    Raises:
        CannotLook: systemd does not say.
    """
    asked = ("systemctl", "show", "--property=User,AmbientCapabilities", f"{agent.SERVICE}.service")
    try:
        shown = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=ASK_S).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotLook(f"{' '.join(asked)}: {error}") from error
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return said.get("User", "") or "root", frozenset(said.get("AmbientCapabilities", "").lower().split())


def judge(facts: KernelLog) -> Iterator[Diagnosis]:
    """Say whether it can be read."""
    may = not facts.restricted or facts.user == "root" or CAPABILITY in facts.capabilities
    if not facts.is_there:
        yield missing(
            f"There is no {facts.path}: Xids and other faults that the kernel tells are not seen.",
            "A container needs the device: --device=/dev/kmsg",
        )
    elif not may:
        yield missing(
            f"{facts.user} may not read {facts.path}: kernel.dmesg_restrict is set, and the unit has no CAP_SYSLOG.",
            f"Give it AmbientCapabilities=CAP_SYSLOG, CapabilityBoundingSet=CAP_SYSLOG: systemctl edit {agent.SERVICE}",
        )
    else:
        yield fine(f"The agent may read {facts.path}.")


CHECK = Check("kernel_log", "A kernel log that the agent may read.", AGENT, read, judge, needs_live=True)
