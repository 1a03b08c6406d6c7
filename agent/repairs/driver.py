"""The NVIDIA driver unloaded and loaded again, for what a reset of a GPU does not reach and a reboot would take longer.

Every GPU of the host goes through it, so nobody may hold any of them. Accelerators of other makers have drivers of
their own, which this leaves alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from agent.machine import ActionFailed, ActionRefused, Done
from agent.repairs.gpu_reset import LOOK_AGAIN_S, LOOKS, WATCHERS
from agent.repairs.holders import Holders, find_holders, of_driver
from agent.repairs.programs import MODPROBE, Programs, said
from agent.repairs.set_aside import Wardrobe
from agent.repairs.units import Units
from agent.sources.procfs import text

DRIVER: Final = "nvidia"

MODULES: Final = (
    "nvidia_fs",
    "gdrdrv",
    "nv_peer_mem",
    "nvidia_peermem",
    "nvidia_vgpu_vfio",
    "nvidia_uvm",
    "nvidia_drm",
    "nvidia_modeset",
    DRIVER,
)
"""The driver's modules and those that rest on it, in the order in which they can be unloaded. Source: their own
dependencies (modinfo); GPUDirect Storage, GDRCopy and GPUDirect RDMA installation guides for the first four."""

SERVICES: Final = (
    *(unit for unit in WATCHERS if unit != "nvidia-persistenced.service"),
    "nvidia-imex.service",
    "nvidia-fabricmanager.service",
    "nvidia-persistenced.service",
)
"""Services that hold the driver, in the order in which they are stopped. Source: as of WATCHERS; Fabric Manager User
Guide; IMEX Service for NVLink Networks, whose service has to run before work does."""

UNLOAD_LIMIT_S: Final = 120.0
"""Source: our choice; the driver takes its GPUs out of service one after another, which takes seconds each."""

VERSION: Final = f"sys/module/{DRIVER}/version"


class DriverReload:
    """Reloads the driver."""

    def __init__(
        self,
        programs: Programs,
        units: Units,
        wardrobe: Wardrobe,
        *,
        root: Path,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Reload nothing yet."""
        self._programs, self._units, self._wardrobe = programs, units, wardrobe
        self._root, self._sleep = root, sleep

    async def run(self) -> Done:
        """Unload the driver and load it again, while the agent itself does not hold it.

        Raises:
            ActionRefused: a precondition does not hold; nothing was changed that is not as before.
            ActionFailed: it was tried and did not work, or not everything came back.
        """
        loaded, before = self._loaded(), self._version()
        self._refuse_unknown_modules(loaded)
        await self._refuse_if_held(SERVICES)
        async with self._wardrobe.opened("a reload of the driver") as taking:
            await taking.units(await self._units.active(SERVICES))
            await self._refuse_if_held(())
            taking.modules(tuple(reversed(loaded)) or (DRIVER,))
            await self._unload(loaded)
        after = self._version()
        if not after:
            raise ActionFailed("modprobe says that the driver is loaded, and the kernel does not show it")
        news = "" if before == after else f", {before or 'none'} before"
        return Done(f"the driver was unloaded and loaded again: version {after}{news}")

    def _version(self) -> str:
        return text(self._root / VERSION).strip()

    def _loaded(self) -> tuple[str, ...]:
        return tuple(name for name in MODULES if (self._root / "sys/module" / name).is_dir())

    def _refuse_unknown_modules(self, loaded: tuple[str, ...]) -> None:
        """Raise if a module rests on the driver that nobody here knows how to bring back."""
        folders = ((self._root / "sys/module" / name / "holders") for name in loaded)
        resting = {each.name for folder in folders if folder.is_dir() for each in folder.iterdir()}
        if strange := sorted(resting - set(MODULES)):
            raise ActionRefused(f"the kernel modules {', '.join(strange)} use the driver: unload them by hand first")

    async def _refuse_if_held(self, stoppable: tuple[str, ...]) -> None:
        """Raise if a process holds a device file of the driver, but for those of services that are stopped for it."""
        strangers = Holders(())
        for look in range(LOOKS):
            if look:
                await self._sleep(LOOK_AGAIN_S)
            strangers = (await asyncio.to_thread(find_holders, self._root, of_driver)).but(stoppable)
            if not strangers.seen:
                strangers.refuse_unseen("the driver")
                return
        raise ActionRefused(
            f"the driver is in use: {strangers}. End them first; those in a pod (device plugin, exporter) by "
            "taking their DaemonSets off this node"
        )

    async def _unload(self, loaded: tuple[str, ...]) -> None:
        for name in loaded:
            ended = await self._programs.run(MODPROBE, "-r", name, limit_s=UNLOAD_LIMIT_S)
            if ended.code:
                raise ActionFailed(
                    f"modprobe -r {name} ended with code {ended.code}: {said(ended).rstrip('.')}. {_advice(name)}"
                )


def _advice(module: str) -> str:
    """Return what to do about a module that stays. Source: what each of them is for."""
    match module:
        case "nvidia_drm" | "nvidia_modeset":
            return "A console or a display uses the GPU: end it, or reboot the host"
        case "nvidia_peermem" | "nv_peer_mem":
            return "RDMA work still has memory of a GPU registered: end it, or reboot the host"
        case "nvidia_fs" | "gdrdrv":
            return "Work that reads from storage or copies straight into a GPU goes on: end it, or reboot the host"
        case _:
            return "Something in the kernel holds it that no process shows: reboot the host"
