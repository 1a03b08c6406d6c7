"""The host's GPUs as nvidia-smi tells them: what has to be known of one before it is reset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent.machine import ActionRefused
from agent.repairs.programs import NVIDIA_SMI, Programs, explain

FIELDS: Final = (
    "uuid",
    "pci.bus_id",
    "name",
    "compute_cap",
    "mig.mode.current",
    "persistence_mode",
    "display_active",
)
"""Source: nvidia-smi --help-query-gpu; `compute_cap` is there since driver 510."""

UUID: Final = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
NO_INSTANCES: Final = ("No GPU instances found", "No MIG-enabled devices")
"""What `nvidia-smi mig -lgi` prints of a GPU that has none. Source: nvidia-smi, drivers 470 to 570, as published."""

_LINKED = re.compile(r"^\s*Link \d{1,3}: [\d.]{1,12} GB/s", re.MULTILINE | re.ASCII)
_CAPABILITY = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
_PLACE = re.compile(r"(?:[0-9A-Fa-f]{4})?([0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. What the driver does not say, as of one that waits for its reset, is as it says it: `[N/A]` and so on.

    Attributes:
        pci: `dddd:bb:dd.f` in lower case, as in /sys; empty when it is not told.
        capability: major and minor, `None` when it is not told.
        mig, persistence, display: `Enabled`, `Disabled`, or what is said in place of it.
    """

    uuid: str
    pci: str
    name: str
    capability: tuple[int, int] | None
    mig: str
    persistence: str
    display: str


async def list_gpus(programs: Programs) -> tuple[Gpu, ...]:
    """Return every GPU that nvidia-smi tells of. One that is lost is not among them, and does not hide the others.

    Raises:
        ActionRefused: it tells of none.
        ActionFailed: it hangs.
    """
    ended = await programs.ask(NVIDIA_SMI, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader")
    gpus = parse_gpus(ended.text)
    if not gpus:
        raise ActionRefused(f"it cannot be told which GPUs there are: nvidia-smi --query-gpu {explain(ended)}")
    return gpus


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs in what nvidia-smi printed; a line that is none is left out."""
    return tuple(_gpus_in(text))


def _gpus_in(text: str) -> Iterator[Gpu]:
    for line in text.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) != len(FIELDS) or not UUID.fullmatch(values[0]):
            continue
        uuid, place, name, capability, mig, persistence, display = values
        found, numbers = _PLACE.fullmatch(place), _CAPABILITY.fullmatch(capability)
        cap = (int(numbers[1]), int(numbers[2])) if numbers else None
        yield Gpu(uuid, found[1].lower() if found else "", name, cap, mig, persistence, display)


async def instances(programs: Programs, gpu: Gpu) -> str:
    """Return why the MIG instances of a GPU forbid a reset, which would delete them; empty when it has none.

    Raises:
        ActionFailed: nvidia-smi hangs.
    """
    if gpu.mig != ENABLED:
        return ""
    ended = await programs.ask(NVIDIA_SMI, "mig", "-lgi", "-i", gpu.uuid)
    if any(none in ended.text for none in NO_INSTANCES):
        return ""
    if ended.code:
        return f"it cannot be told whether {gpu.uuid} has MIG instances: nvidia-smi mig -lgi {explain(ended)}"
    return f"{gpu.uuid} has MIG instances, which a reset deletes: destroy them first (nvidia-smi mig -dci, then -dgi)"


async def is_linked(programs: Programs, gpu: Gpu) -> bool:
    """Return whether the GPU has NVLinks that are up.

    Raises:
        ActionRefused: nobody can tell.
        ActionFailed: nvidia-smi hangs.
    """
    ended = await programs.ask(NVIDIA_SMI, "nvlink", "--status", "-i", gpu.uuid)
    if ended.code:
        raise ActionRefused(f"it cannot be told whether {gpu.uuid} has NVLinks: nvidia-smi nvlink {explain(ended)}")
    return bool(_LINKED.search(ended.text))


async def computing(programs: Programs, gpu: str) -> str:
    """Return which processes compute on the GPU, empty when none does.

    Raises:
        ActionRefused: nobody can tell.
        ActionFailed: nvidia-smi hangs.
    """
    query = ("--query-compute-apps=gpu_uuid,pid,process_name", "--format=csv,noheader")
    ended = await programs.ask(NVIDIA_SMI, *query)
    if ended.code:
        raise ActionRefused(f"it cannot be told whether {gpu} is in use: nvidia-smi {explain(ended)}")
    return "; ".join(line.strip() for line in ended.text.splitlines() if line.startswith(gpu))


def success_of(text: str) -> bool:
    """Return whether nvidia-smi says that every GPU it was asked to reset was."""
    return "could not be reset" not in text and "Unable to reset" not in text
