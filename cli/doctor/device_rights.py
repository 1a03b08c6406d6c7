"""`device_rights`: whether the agent may ask disks and adapters what they tell to root alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent.sources.registry import SOURCES
from agent.sources.source import Privilege
from checks.registry import CHECKS
from cli.doctor.diagnosis import AGENT, Check, Diagnosis, advice, fine
from cli.doctor.kernel_log import rights_of_agent
from cli.doctor.patient import Patient
from cli.doctor.tools import TOOLS, is_here
from cli.setting_up import agent

NEEDED: Final = ("CAP_SYS_ADMIN", "CAP_SYS_RAWIO", "CAP_DAC_OVERRIDE")
"""Source: docs/how-to/install.md, found with nvme-cli, smartctl and mlxlink."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Whom the agent runs as, and the checks whose programs are here and want more."""

    user: str
    capabilities: frozenset[str]
    blind: tuple[str, ...]


def read(patient: Patient) -> Rights:
    """Return what the agent may, and what asks for more.

    Raises:
        CannotLook: systemd does not say.
    """
    of_root = {source.name for source in SOURCES if source.privilege is Privilege.ROOT}
    asked = {tool.source for tool in TOOLS if tool.is_needed(patient) and is_here(tool, patient)}
    user, capabilities = rights_of_agent()
    return Rights(user, capabilities, tuple(check.id for check in CHECKS if check.source in of_root & asked))


def judge(rights: Rights) -> Iterator[Diagnosis]:
    """Say what is refused to the agent."""
    lacking = [each for each in NEEDED if each.lower() not in rights.capabilities]
    if not rights.blind or rights.user == "root" or not lacking:
        yield fine("The agent may ask every device that this host has.")
        return
    capabilities = " ".join(("CAP_SYSLOG", *NEEDED))
    yield advice(
        f"{', '.join(rights.blind)} cannot be judged: only root may ask these devices, and the agent is {rights.user}.",
        f"systemctl edit {agent.SERVICE}: AmbientCapabilities={capabilities} and CapabilityBoundingSet={capabilities}",
    )


CHECK = Check("device_rights", "Devices that only root may ask.", AGENT, read, judge, needs_live=True)
