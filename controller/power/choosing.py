"""The power adapter that the settings name, with everything checked that can be checked before a BMC is asked."""

from __future__ import annotations

from controller.adapters import Power
from controller.errors import Permanent
from controller.power.bmcs import Bmc, Bmcs, read_file
from controller.power.ipmi import MOST_PASSWORD_BYTES, IpmiPower
from controller.power.none import NoPower
from controller.power.redfish import RedfishPower
from controller.power.redfish_talk import Access, Untrusted
from controller.sections.power import PowerSection
from controller.settings import SettingsError


def power_of(section: PowerSection) -> Power:
    """Return the adapter.

    Raises:
        SettingsError: with every problem of the table and of the files that it names.
    """
    if not section.is_on:
        return NoPower()
    bmcs, problems = _bmcs_of(section)
    problems += [problem for bmc in bmcs.each() for problem in _problems_of(section, bmc)]
    access = _access(section, problems)
    if access is None or problems:
        raise SettingsError("\n".join(dict.fromkeys(problems)))
    return IpmiPower(bmcs, section.deadline_s) if section.kind == "ipmi" else RedfishPower(bmcs, access)


def _access(section: PowerSection, problems: list[str]) -> Access | None:
    try:
        return Access(section.ca_file, section.verify, section.login == "session", section.deadline_s)
    except Untrusted as error:
        problems.append(f"power.ca_file: {error}")
        return None


def _bmcs_of(section: PowerSection) -> tuple[Bmcs, list[str]]:
    usual = section.bmc()
    listed, problems = read_file(section.bmcs) if section.bmcs is not None else ({}, [])
    named = {node: bmc.over(usual) for node, bmc in listed.items()}
    for node, own in section.nodes.items():
        named[node] = own.bmc().over(named.get(node, usual))
    if not usual.address and not named:
        problems.append(
            "power: no BMC is known: give address = 'https://{node}-bmc.example', bmcs or [power.nodes.NAME]"
        )
    if usual.address and "{node}" not in usual.address and section.kind == "ipmi":
        problems.append("power.address: must have {node} in it, or every node has the same BMC")
    if usual.address and "{node}" not in usual.address and section.kind == "redfish" and not _tells_systems(named):
        problems.append("power.address: must have {node} in it, or each node needs a system of its own")
    return Bmcs(usual, named), problems


def _tells_systems(named: dict[str, Bmc]) -> bool:
    """Whether one BMC may serve many nodes, as an emulator or the manager of an enclosure does."""
    return bool(named) and all(bmc.system for bmc in named.values())


def _problems_of(section: PowerSection, bmc: Bmc) -> list[str]:
    """Return what is wrong with an account, where one is used at all."""
    where = f"power: {bmc.address.rpartition('@')[2]}" if bmc.address else "power"
    problems = [f"{where}: {flaw}" for flaw in section.flaws_of(bmc)]
    if not bmc.address:
        return problems
    if not bmc.user:
        problems.append(f"{where}: user is missing")
    try:
        password = bmc.password()
    except Permanent as error:
        return [*problems, f"{where}: {error}"]
    if section.kind == "ipmi" and len(password.encode()) > MOST_PASSWORD_BYTES:
        problems.append(f"{where}: a password of IPMI has at most {MOST_PASSWORD_BYTES} bytes")
    return problems
