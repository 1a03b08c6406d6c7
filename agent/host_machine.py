"""The real host, as orders see it: a few programs, started with fixed argument lists, each with a deadline.

What an order names is looked up on a closed list or has to have the form of a UUID, so no order can smuggle in an
option. A program that hangs is killed; one that cannot be killed is in nobody's way but its own: a host on which
nvidia-smi hangs in the driver can still be rebooted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Final

from agent.machine import ActionFailed, ActionRefused, Done
from agent.simulation.faults import FAULTS, Target, find_fault
from agent.sources.child import ChildEnded, Command, DeadlineMissed, Ended, Slot, Stuck

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

QUERY_LIMIT_S: Final = 30.0
RESET_LIMIT_S: Final = 180.0
RESTART_LIMIT_S: Final = 120.0
REBOOT_LIMIT_S: Final = 30.0
"""Source: our choice; systemd gives a unit 90 s to stop (DefaultTimeoutStopSec), the fault model a reset 60 s."""

MEANINGS: Final = {
    2: "an argument is not valid",
    3: "the GPU cannot be reset here: reboot the host instead",
    4: "it takes root",
    6: "there is no such GPU",
    8: "the GPU's power cables are not attached",
    9: "the driver is not loaded",
    10: "the kernel found a fault in the GPU's interrupts",
    12: "the NVML library was not found",
    13: "this driver cannot do that",
    14: "the GPU's InfoROM is corrupt",
    15: "the GPU has fallen off the bus: reboot the host instead",
}
"""Exit code of nvidia-smi → what it means. Source: nvidia-smi(1), RETURN VALUE."""

_UUID: Final = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PCI: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}")

WARNING: Final = 4
MADE_UP_PCI: Final = "0000:ff:1f"
"""Bus 255, device 31: where no GPU sits, for drills that name none."""

LetGo = Callable[[str], AbstractAsyncContextManager[None]]


def _nobody(_because: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class HostMachine:
    """This very host."""

    simulated = False

    def __init__(
        self,
        let_go: LetGo = _nobody,
        *,
        accept_userspace_records: bool = False,
        services: Sequence[str] = SERVICES,
        make_slot: Callable[[], Slot] = Slot,
        query_limit_s: float = QUERY_LIMIT_S,
        root: Path = Path("/"),
    ) -> None:
        """Do nothing yet.

        Args:
            let_go: keeps the agent itself from holding GPUs open meanwhile (NvmlSource.let_go).
            accept_userspace_records: whether checks believe records that a process wrote, so that drills can be seen.
            make_slot: gives each program its place.
            query_limit_s: after so long, a program that only tells something is late.
            root: where /proc, /run and /dev lie.
        """
        self._let_go, self._accepts_records, self._services = let_go, accept_userspace_records, tuple(services)
        self._commands = {program: Command(make_slot()) for program in ("nvidia-smi", "systemctl")}
        self._query_limit_s, self._root = query_limit_s, root

    def boot_id(self) -> str:
        """Return the kernel's boot id."""
        return (self._root / "proc/sys/kernel/random/boot_id").read_text().strip()

    async def reset_gpu(self, device: str) -> Done:
        """Reset the GPU with this UUID, unless a process is using it."""
        if not _UUID.fullmatch(device):
            raise ActionRefused(f"{device!r} is no GPU UUID (GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)")
        await self._refuse_if_used(device)
        async with self._let_go("a GPU reset"):
            ended = await self._run("nvidia-smi", "--gpu-reset", "-i", device, limit_s=RESET_LIMIT_S)
        if ended.code:
            raise ActionFailed(f"nvidia-smi --gpu-reset -i {device} {_explain(ended)}")
        return Done(f"GPU {device} was reset", {"nvidia-smi": ended.text})

    async def restart_service(self, service: str) -> Done:
        """Restart a systemd unit of the closed list."""
        unit = service.removesuffix(".service")
        if unit not in self._services:
            raise ActionRefused(
                f"{service!r} is none of the services that may be restarted: {', '.join(self._services)}"
            )
        self._refuse_without_systemd()
        unit = unit if "." in unit else f"{unit}.service"
        loaded = await self._run(
            "systemctl", "show", "--property=LoadState", "--value", unit, limit_s=self._query_limit_s
        )
        if loaded.text.strip() != "loaded":
            raise ActionRefused(f"{unit} is not installed here: systemd calls it {loaded.text.strip() or 'unknown'}")
        ended = await self._run("systemctl", "restart", unit, limit_s=RESTART_LIMIT_S)
        if ended.code:
            raise ActionFailed(f"systemctl restart {unit} ended with code {ended.code}: {ended.text.strip()}")
        return Done(f"{unit} was restarted")

    async def reboot(self) -> Done:
        """Begin a reboot through systemd, which ends every service in order."""
        self._refuse_without_systemd()
        ended = await self._run("systemctl", "--no-wall", "reboot", limit_s=REBOOT_LIMIT_S)
        if ended.code:
            raise ActionFailed(f"systemctl reboot ended with code {ended.code}: {ended.text.strip()}")
        return Done("the host is going down for a reboot")

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

    async def _refuse_if_used(self, device: str) -> None:
        """Raise unless no process computes on the GPU: a reset would kill it."""
        query = ("--query-compute-apps=gpu_uuid,pid,process_name", "--format=csv,noheader")
        ended = await self._run("nvidia-smi", *query, limit_s=self._query_limit_s)
        if ended.code:
            raise ActionRefused(f"it cannot be told whether {device} is in use: nvidia-smi {_explain(ended)}")
        used = [line.strip() for line in ended.text.splitlines() if line.startswith(device)]
        if used:
            raise ActionRefused(f"{device} is in use: {'; '.join(used)}")

    def _refuse_without_systemd(self) -> None:
        if not (self._root / "run/systemd/system").is_dir():
            raise ActionRefused("this host was not booted with systemd")

    async def _run(self, *command: str, limit_s: float) -> Ended:
        try:
            return await self._commands[command[0]].run(command, deadline_s=limit_s)
        except FileNotFoundError as error:
            raise ActionRefused(f"{command[0]} is not installed on this host") from error
        except (DeadlineMissed, Stuck, ChildEnded, OSError) as error:
            raise ActionFailed(f"{' '.join(command)}: {error}") from error


def _explain(ended: Ended) -> str:
    meaning = f" ({MEANINGS[ended.code]})" if ended.code in MEANINGS else ""
    return f"ended with code {ended.code}{meaning}: {ended.text.strip()}"


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
