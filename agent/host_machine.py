"""The real host, as orders see it: a few programs, started with fixed argument lists, each with a deadline.

What an order names is looked up on a closed list or has to have the form of a UUID, so no order can smuggle in an
option. How each repair goes is in agent/repairs/, one file a repair.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from agent.hold_targets import SystemdTargets
from agent.machine import ActionFailed, ActionRefused, Done
from agent.repairs.driver import DriverReload
from agent.repairs.gpu_reset import GpuReset, refuse_unless_uuid
from agent.repairs.programs import QUERY_LIMIT_S, Programs
from agent.repairs.reboot import Reboot
from agent.repairs.set_aside import Keeper, Wardrobe
from agent.repairs.units import Units, full_name
from agent.simulation.drill_fault import Target
from agent.simulation.faults import FAULTS, find_fault
from agent.sources.child import Slot

SERVICES: Final = (
    "containerd",
    "crio",
    "kubelet",
    "munge",
    "nvidia-dcgm",
    "nvidia-dcgm-exporter",
    "nvidia-fabricmanager",
    "nvidia-imex",
    "nvidia-persistenced",
    "openibd",
    "opensm",
    "rasdaemon",
    "rdma-hw.target",
    "slurmd",
)
"""Every unit that an order may have restarted."""

_PCI: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}")

WARNING: Final = 4
MADE_UP_PCI: Final = "0000:ff:1f"
"""Bus 255, device 31: where no GPU sits, for drills that name none."""

LetGo = Callable[[str], AbstractAsyncContextManager[None]]


def _nobody(_because: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class Forgetful:
    """Keeps nothing: for who takes nothing away."""

    def load(self, _key: str) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def save(self, _key: str, _value: dict[str, Any]) -> None:
        """Keep nothing."""


class HostMachine:
    """This very host.

    Attributes:
        targets: its systemd, as it follows a hold of the node.
    """

    simulated = False

    def __init__(
        self,
        let_go: LetGo = _nobody,
        *,
        keeper: Keeper | None = None,
        accept_userspace_records: bool = False,
        services: Sequence[str] = SERVICES,
        make_slot: Callable[[], Slot] = Slot,
        query_limit_s: float = QUERY_LIMIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        root: Path = Path("/"),
    ) -> None:
        """Do nothing yet.

        Args:
            let_go: keeps the agent itself from holding GPUs open meanwhile (NvmlSource.let_go).
            keeper: outlives this process, and knows what a repair has taken away; `None` for who repairs nothing.
            accept_userspace_records: whether checks believe records that a process wrote, so that drills can be seen.
            make_slot: gives each program its place.
            query_limit_s: after so long, a program that only tells something is late.
            root: where /proc, /sys, /run and /dev lie.
        """
        self._let_go, self._accepts_records, self._services = let_go, accept_userspace_records, tuple(services)
        self._root = root
        programs = Programs(make_slot, query_limit_s=query_limit_s)
        self._units = units = Units(programs, root=root, sleep=sleep)
        self._wardrobe = wardrobe = Wardrobe(keeper or Forgetful(), programs, units, boot_id=self.boot_id)
        self._gpu_reset = GpuReset(programs, wardrobe, root=root, sleep=sleep)
        self._driver_reload = DriverReload(programs, units, wardrobe, root=root, sleep=sleep)
        self._reboot = Reboot(programs, units, root=root, sleep=sleep)
        self.targets = SystemdTargets(units, root=root, sleep=sleep)

    def boot_id(self) -> str:
        """Return the kernel's boot id."""
        return (self._root / "proc/sys/kernel/random/boot_id").read_text().strip()

    async def recover(self) -> str:
        """Bring back what an earlier process took away for a repair and did not live to bring back."""
        return await self._wardrobe.recover()

    async def reset_gpu(self, device: str, *, neighbours: bool = False) -> Done:
        """Reset the GPU with this UUID, unless anybody is using it."""
        refuse_unless_uuid(device)
        async with self._let_go("a GPU reset"):
            return await self._gpu_reset.run(device, neighbours=neighbours)

    async def reload_driver(self) -> Done:
        """Unload the NVIDIA driver and load it again, unless anybody is using it."""
        self._units.refuse_without_systemd()
        async with self._let_go("a reload of the driver"):
            return await self._driver_reload.run()

    async def restart_service(self, service: str) -> Done:
        """Restart a systemd unit of the closed list, and see that it stays up."""
        unit = service.removesuffix(".service")
        if unit not in self._services:
            raise ActionRefused(
                f"{service!r} is none of the services that may be restarted: {', '.join(self._services)}"
            )
        self._units.refuse_without_systemd()
        await self._units.restart(full_name(unit))
        return Done(f"{full_name(unit)} was restarted and stays up")

    async def reboot(self, *, force: bool = False) -> Done:
        """Reboot through systemd, which ends every service in order."""
        await self._reboot.run(force=force)

    async def inject_fault(self, fault: str, *, device: str, parameters: Mapping[str, str]) -> Done:
        """Write the kernel's lines of a fault to /dev/kmsg, where the kernel marks them as written by a process.

        Args:
            device: PCI address of the GPU that the lines are to name; a made-up one when it is empty.
        """
        if not self._accepts_records:
            raise ActionRefused(
                "drills on a real host need kernel_log.accept_userspace_records = true in the agent's configuration, "
                "which makes it believe what any privileged process writes to /dev/kmsg"
            )
        lines = _lines(fault, device or parameters.get("device", "") or MADE_UP_PCI)
        log = self._root / "dev/kmsg"
        try:
            with log.open("wb", buffering=0) as kernel_log:
                for line in lines:
                    kernel_log.write(f"<{WARNING}>{line}\n".encode())
        except OSError as error:
            raise ActionFailed(f"cannot write to {log}: {error.strerror}") from error
        return Done(f"wrote {len(lines)} lines of {fault} to the kernel log", {"kernel-log": "\n".join(lines)})


def _lines(fault: str, pci: str) -> tuple[str, ...]:
    """Return what the kernel would say of a fault.

    Raises:
        ActionRefused: no such fault, or one that the kernel log does not show.
    """
    kinds = [kind for kind in FAULTS if kind.effect.lines and kind.target is not Target.PORT]
    kind = find_fault(fault)
    if kind is None or kind not in kinds:
        raise ActionRefused(
            f"on a real host only these faults can be drilled: {', '.join(each.name for each in kinds)}"
        )
    if kind.target is Target.GPU and not _PCI.fullmatch(pci):
        raise ActionRefused(f"device is {pci!r}, not the PCI address of a GPU (0000:3b:00)")
    values = {"pci": pci, "serial": "0", "uuid": "", "index": "0"}
    return tuple(line.format_map(values) for line in kind.effect.lines)
