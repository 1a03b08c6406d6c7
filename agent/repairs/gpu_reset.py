"""The reset of one GPU, and of no other.

What holds the GPU without working on it (persistence mode, monitors) is taken away for it and brought back; whatever
works on it refuses the reset. Fabric Manager is never stopped: Ampere needs it for a reset, and Hopper and later do
not mind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from agent.machine import ActionFailed, ActionRefused, Done
from agent.repairs import gpus as told
from agent.repairs.generations import Alone, generation_of
from agent.repairs.gpus import DISABLED, ENABLED, UUID, Gpu
from agent.repairs.holders import Holders, find_holders, minors, of_gpu
from agent.repairs.programs import NVIDIA_SMI, Programs, explain
from agent.repairs.set_aside import Taking, Wardrobe
from agent.sources.processes import read_processes
from agent.sources.services import has_nvswitches

RESET_LIMIT_S: Final = 180.0
"""Source: our choice; the fault model gives a reset 60 s."""

WATCHERS: Final = (
    "nvidia-dcgm-exporter.service",
    "dcgm-exporter.service",
    "nvidia_gpu_exporter.service",
    "nvsm.service",
    "nvidia-dcgm.service",
    "dcgm.service",
    "nvidia-persistenced.service",
)
"""Services that hold GPUs open and do no work on them, in the order in which they are stopped: who asks before who is
asked. Source: DCGM User Guide; DCGM-Exporter; DGX OS User Guide, nvsm; nvidia-persistenced(1)."""

FABRIC_MANAGER: Final = "nv-fabricmanage"
"""Fabric Manager's name as the kernel cuts it. Source: proc_pid_comm(5), 15 letters."""

LOOKS: Final = 4
LOOK_AGAIN_S: Final = 2.0
"""Whoever still holds the GPU is looked at so often before the reset is refused: a monitor that is run every minute is
gone in seconds. Source: our choice."""

DRM: Final = "sys/module/nvidia_drm"
BOUND_TO: Final = "sys/bus/pci/devices/{pci}/driver"
MDEVS: Final = "sys/bus/mdev/devices"
"""One link a virtual GPU, into the device that it is a part of. Source: kernel, vfio-mediated-device.rst."""


class GpuReset:
    """Resets GPUs."""

    def __init__(
        self,
        programs: Programs,
        wardrobe: Wardrobe,
        *,
        root: Path,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Reset nothing yet."""
        self._programs, self._wardrobe, self._root, self._sleep = programs, wardrobe, root, sleep

    async def run(self, device: str, *, neighbours: bool) -> Done:
        """Reset the GPU with this UUID, while the agent itself holds none open.

        Raises:
            ActionRefused: a precondition does not hold; nothing was changed that is not as before.
            ActionFailed: it was tried and did not work, or not everything came back.
        """
        every = await told.list_gpus(self._programs)
        gpu = self._find(device, every)
        meant = (gpu, *await self._with(gpu, every, neighbours=neighbours))
        for each in meant:
            await self._refuse_if_used(each)
        async with self._wardrobe.opened(f"a reset of {device}") as taking:
            await self._free(meant, taking)
            text = await self._reset(meant)
        names = " and ".join(each.uuid for each in meant)
        return Done(f"GPU {names} was reset", {"nvidia-smi": text}, gpus=tuple(each.uuid for each in meant))

    def _find(self, device: str, every: tuple[Gpu, ...]) -> Gpu:
        found = next((gpu for gpu in every if gpu.uuid == device), None)
        if found is None and device in minors(self._root):
            raise ActionRefused(f"{device} does not answer nvidia-smi, and takes no reset from it: reboot the host")
        if found is None:
            raise ActionRefused(f"there is no GPU {device} here, but {', '.join(gpu.uuid for gpu in every)}")
        driver = self._root / BOUND_TO.format(pci=found.pci)
        if found.pci and driver.is_symlink() and driver.readlink().name != "nvidia":
            raise ActionRefused(f"{device} is in the hands of {driver.readlink().name}, which gives it to a guest")
        return found

    async def _with(self, gpu: Gpu, every: tuple[Gpu, ...], *, neighbours: bool) -> tuple[Gpu, ...]:
        """Return the GPUs that have to be reset with this one.

        Raises:
            ActionRefused: there are some and the order does not say that they may be, or nobody can tell.
        """
        because = await self._why_not_alone(gpu, every)
        if not because:
            return ()
        others = tuple(each for each in every if each.uuid != gpu.uuid and each.name == gpu.name)
        if others and not neighbours:
            named = ", ".join(each.uuid for each in others)
            raise ActionRefused(f"{because}, so {named} would be reset, too: the order has to say `neighbours: reset`")
        return others

    async def _why_not_alone(self, gpu: Gpu, every: tuple[Gpu, ...]) -> str:
        alike = (each.capability for each in (gpu, *every) if each.name == gpu.name)
        capability = next((each for each in alike if each is not None), None)
        if capability is None:
            raise ActionRefused(f"nvidia-smi does not tell the generation of {gpu.uuid}: its driver is older than 510")
        generation = generation_of(capability)
        if generation.alone is Alone.ALWAYS or (
            generation.alone is Alone.BESIDE_A_FABRIC_MANAGER and not await self._lacks_fabric_manager()
        ):
            return ""
        if not await told.is_linked(self._programs, gpu):
            return ""
        lacks = " without a running Fabric Manager" if generation.alone is Alone.BESIDE_A_FABRIC_MANAGER else ""
        return f"a GPU {generation.name}{lacks} is reset together with those at its NVLinks"

    async def _lacks_fabric_manager(self) -> bool:
        """Return whether the host has NVSwitches and nobody who sets them up, on the host or in a container."""
        if not has_nvswitches(self._root, self._root / "sys"):
            return False
        processes = await asyncio.to_thread(read_processes, self._root / "proc")
        return not any(process.name == FABRIC_MANAGER for process in processes)

    async def _refuse_if_used(self, gpu: Gpu) -> None:
        """Raise if anything works on the GPU: a reset would kill it."""
        if working := await told.computing(self._programs, gpu.uuid):
            raise ActionRefused(f"{gpu.uuid} is in use: {working}")
        if divided := await told.instances(self._programs, gpu):
            raise ActionRefused(divided)
        if gpu.display == ENABLED:
            raise ActionRefused(f"{gpu.uuid} drives a display: end what shows something on it")
        if guests := self._virtual_gpus(gpu):
            raise ActionRefused(f"{gpu.uuid} has virtual GPUs ({', '.join(guests)}): remove them first")
        strangers = await self._strangers(gpu)
        if strangers.seen:
            raise ActionRefused(f"{gpu.uuid} is in use: {strangers}")
        strangers.refuse_unseen(gpu.uuid)

    def _virtual_gpus(self, gpu: Gpu) -> list[str]:
        """Return the virtual GPUs that are parts of a GPU or of its virtual functions."""
        folder = self._root / MDEVS
        if not gpu.pci or not folder.is_dir():
            return []
        functions = {path.resolve().name for path in (self._root / "sys/bus/pci/devices" / gpu.pci).glob("virtfn*")}
        owners = {gpu.pci, *functions}
        return sorted(each.name for each in folder.iterdir() if each.resolve().parent.name in owners)

    async def _strangers(self, gpu: Gpu) -> Holders:
        """Return who holds the GPU and is none of those who can be stopped for a while, when they stay."""
        strangers = Holders(())
        for look in range(LOOKS):
            if look:
                await self._sleep(LOOK_AGAIN_S)
            strangers = (await self._holders(gpu)).but(WATCHERS)
            if not strangers.seen:
                break
        return strangers

    async def _holders(self, gpu: Gpu) -> Holders:
        return await asyncio.to_thread(find_holders, self._root, of_gpu(self._root, gpu.uuid))

    async def _free(self, meant: tuple[Gpu, ...], taking: Taking) -> None:
        """Take away what holds the GPUs: their persistence mode first, which nvidia-persistenced itself may hold."""
        for gpu in meant:
            if gpu.persistence != DISABLED:
                await taking.persistence(gpu.uuid, restore=gpu.persistence == ENABLED)
        holders = [each for gpu in meant for each in (await self._holders(gpu)).seen]
        units = {each.place for each in holders}
        await taking.units(tuple(unit for unit in WATCHERS if unit in units))
        left = [each for gpu in meant for each in (await self._holders(gpu)).seen]
        if left:
            raise ActionRefused(f"{meant[0].uuid} is in use again: {Holders(tuple(left))}")

    async def _reset(self, meant: tuple[Gpu, ...]) -> str:
        names = ",".join(each.uuid for each in meant)
        ended = await self._programs.run(NVIDIA_SMI, "--gpu-reset", "-i", names, limit_s=RESET_LIMIT_S)
        if ended.code or not told.success_of(ended.text):
            raise ActionFailed(f"nvidia-smi --gpu-reset -i {names} {explain(ended)}{self._hint(ended.text)}")
        return ended.text

    def _hint(self, text: str) -> str:
        """Return who may hold a GPU that no process does. Source: NVIDIA/mig-parted, issue 181."""
        if "In use by another client" in text and (self._root / DRM).is_dir():
            return ". No process that can be seen holds it; the kernel module nvidia_drm may: reload the driver instead"
        return ""


def refuse_unless_uuid(device: str) -> None:
    """Return if this has the form of a GPU's UUID, so that it cannot be taken for an option.

    Raises:
        ActionRefused: it has not.
    """
    if not UUID.fullmatch(device):
        raise ActionRefused(f"{device!r} is no GPU UUID (GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)")
