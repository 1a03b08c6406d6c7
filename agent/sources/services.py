"""The services that GPUs and jobs need: all of them by one call of `systemctl show`.

Its output is the same in every language and every version of systemd, and of a unit that is not installed it says just
that. A host that was not booted with systemd has no units to tell of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.sources import pci
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Tool
from checks.errors import CannotObserve
from checks.readings import ServicesReading, ServiceUnit

UNITS: Final = (
    "nvidia-fabricmanager",
    "nvidia-imex",
    "nvidia-persistenced",
    "nvidia-dcgm",
    "nvidia-dcgm-exporter",
    "slurmd",
    "munge",
    "kubelet",
    "containerd",
    "crio",
    "rasdaemon",
)
"""Units that are asked for. Source: our choice: what a GPU, its fabric, or a job cannot do without, and what watches
them. What keeps the clock and the file systems has sources of its own."""

PROPERTIES: Final = (
    "Id",
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "ConditionResult",
    "ConditionTimestampMonotonic",
)
"""Source: org.freedesktop.systemd1(5)."""

BOOTED: Final = "run/systemd/system"
"""There when systemd is the host's first process. Source: sd_booted(3)."""

NOT_INSTALLED: Final = "not-found"

NVIDIA: Final = "0x10de"
BRIDGE: Final = ("0x0680",)
"""Class of the NVSwitches up to Hopper. Source: PCI code and ID assignment specification, base class 06h; pci.ids."""

SUBNET_MANAGER: Final = "opt/nvidia/nvlsm/sbin/nvlsm"
"""Installed where a host has the NVSwitches of Blackwell, which do not show on the PCI bus themselves. Source: Fabric
Manager User Guide, HGX B200 and later."""

DRIVER: Final = "module/nvidia/version"
FABRIC_MANAGER: Final = "nv-fabricmanager"

_VERSION = re.compile(r"Fabric Manager version is\s*:\s*(\d{1,4}(?:\.\d{1,4}){1,3})\b", re.ASCII)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


class ServicesSource:
    """Services of the host."""

    name = "services"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._root, self._sysfs, self._monotonic = surroundings.root, surroundings.sysfs, surroundings.monotonic
        self._systemctl = Tool(surroundings.find("systemctl"))
        self._program = surroundings.find(FABRIC_MANAGER)
        self._fabric_manager = Tool(self._program)
        self._version: tuple[int, str] = (0, "")

    async def read(self) -> ServicesReading:
        """Return one reading, without units on a host that was not booted with systemd.

        Raises:
            CannotObserve: systemd does not answer.
        """
        at_s = self._monotonic()
        if not self._systemctl.is_installed or not (self._root / BOOTED).is_dir():
            return ServicesReading(at_s)
        return ServicesReading(
            at_s,
            units=await self._units(),
            nvlink_fabric=has_nvswitches(self._root, self._sysfs),
            driver_version=_line(self._sysfs / DRIVER),
            fabric_manager_version=await self._fabric_manager_version(),
        )

    async def close(self) -> None:
        """End what still runs."""
        await self._systemctl.close()
        await self._fabric_manager.close()

    async def _units(self) -> tuple[ServiceUnit, ...]:
        wanted = (f"{unit}.service" for unit in UNITS)
        properties = f"--property={','.join(PROPERTIES)}"
        ended = await self._systemctl.run("show", properties, "--", *wanted, deadline_s=self.timing.deadline_s / 2)
        if ended.code:
            raise CannotObserve(f"systemctl show ended with code {ended.code}: {_said(ended.text)}")
        return parse_units(ended.text)

    async def _fabric_manager_version(self) -> str:
        """Return the version of the installed program, which is asked only after it was replaced."""
        changed_ns = _changed_ns(self._program)
        if changed_ns and changed_ns != self._version[0]:
            self._version = (changed_ns, parse_version(await self._ask_version()))
        return self._version[1] if changed_ns else ""

    async def _ask_version(self) -> str:
        """Return what the program printed; that it fails or is late hides nothing of the units."""
        try:
            return (await self._fabric_manager.run("--version", deadline_s=self.timing.deadline_s / 2)).text
        except CannotObserve as error:
            if error.stuck:
                raise
            return ""


SOURCE: Final = Declaration(
    name=ServicesSource.name,
    summary="Services that GPUs and jobs need, from `systemctl show`.",
    reading=ServicesReading,
    timing=Timing(interval_s=60.0, fast_interval_s=20.0, deadline_s=15.0),
    cost=Cost.LOW,
    privilege=Privilege.NONE,
    hangs_with="systemd and its message bus",
    make=ServicesSource,
)


def parse_units(text: str) -> tuple[ServiceUnit, ...]:
    """Return the installed units of what `systemctl show` printed: a block of `key=value` lines each.

    Raises:
        CannotObserve: it holds no unit at all, not even one that is not installed.
    """
    blocks = [_facts(block) for block in text.split("\n\n")]
    told = [facts for facts in blocks if facts.get("Id", "").endswith(".service") and facts.get("LoadState")]
    if not told:
        raise CannotObserve(f"systemctl show tells of no unit: {_said(text)}")
    return tuple(_unit(facts) for facts in told if facts["LoadState"] != NOT_INSTALLED)


def _facts(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: _printable(value) for name, separator, value in pairs if separator and name in PROPERTIES}


def _unit(facts: dict[str, str]) -> ServiceUnit:
    restarts, tried_at = facts.get("NRestarts", ""), facts.get("ConditionTimestampMonotonic", "")
    return ServiceUnit(
        name=facts["Id"].removesuffix(".service"),
        enabled=facts.get("UnitFileState", ""),
        active=facts.get("ActiveState", ""),
        sub=facts.get("SubState", ""),
        result=facts.get("Result", ""),
        restarts=int(restarts) if _NUMBER.fullmatch(restarts) else None,
        # `no` is also what a unit says that nobody has started since the boot.
        skipped=facts.get("ConditionResult") == "no" and tried_at not in ("", "0"),
    )


def parse_version(text: str) -> str:
    """Return the version in what `nv-fabricmanager --version` printed, empty when it holds none."""
    match = _VERSION.search(text)
    return match[1] if match else ""


def has_nvswitches(root: Path, sysfs: Path) -> bool:
    """Return whether the host has NVSwitches that its own Fabric Manager has to set up."""
    return any(pci.devices(sysfs, NVIDIA, BRIDGE)) or (root / SUBNET_MANAGER).is_file()


def _changed_ns(program: str) -> int:
    try:
        return Path(program).stat().st_mtime_ns if program else 0
    except OSError:
        return 0


def _line(path: Path) -> str:
    try:
        return _printable(path.read_text().strip())
    except (OSError, UnicodeDecodeError):
        return ""


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _said(text: str) -> str:
    """Return the first line that says something."""
    lines: Iterator[str] = (_printable(line).strip() for line in text.splitlines())
    return next((line[:200] for line in lines if line), "nothing")
