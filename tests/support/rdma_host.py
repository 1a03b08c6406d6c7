"""A host with GPUs and RDMA adapters below a folder: the PCI tree, the adapters' ports, the NVIDIA driver's files."""

from __future__ import annotations

from pathlib import Path

from tests.support.rdma_tree import ADAPTER, PORT
from tests.support.surroundings import write_files

NVIDIA, GPU_CLASS = "0x10de", "0x030200"


def add_gpu(root: Path, steps: str, *, model: str = "NVIDIA H100 80GB HBM3") -> str:
    """Add a GPU and return its PCI address.

    Args:
        steps: its path below /sys/devices, e.g. `pci0000:3a/0000:3a:01.0/0000:3b:00.0`.
    """
    address = steps.rpartition("/")[2]
    write_files(root / "sys/devices" / steps, {"class": f"{GPU_CLASS}\n", "vendor": f"{NVIDIA}\n"})
    _list(root, "sys/bus/pci/devices", address, root / "sys/devices" / steps)
    text = f"Model: \t\t {model}\nIRQ:   \t\t 183\nGPU UUID: \t GPU-{address}\nBus Location: \t {address}\n"
    write_files(root, {f"proc/driver/nvidia/gpus/{address}/information": text})
    write_files(root, {"sys/module/nvidia/version": "580.82.07\n"})
    return address


def add_port(
    root: Path,
    name: str,
    steps: str,
    *,
    rate: str = "400 Gb/sec (4X NDR)",
    state: str = "4: ACTIVE",
    subnet: str = "fe80:0000:0000:0000",
    roce_gids: dict[int, tuple[str, str]] | None = None,
    board: str = "MT_0000000838",
) -> None:
    """Add an adapter with one port.

    Args:
        roce_gids: index → kind and address; it speaks RoCE then.
    """
    device = root / "sys/devices" / steps
    gids = roce_gids or {0: ("IB/RoCE v1", f"{subnet}:a088:c203:00ab:cdef")}
    files = {
        **{f"ports/1/{file}": text for file, text in PORT.items()},
        **ADAPTER,
        "board_id": f"{board}\n",
        "ports/1/rate": f"{rate}\n",
        "ports/1/state": f"{state}\n",
        "ports/1/link_layer": "Ethernet\n" if roce_gids else "InfiniBand\n",
        **{f"ports/1/gids/{index}": f"{address}\n" for index, (_, address) in gids.items()},
        **{f"ports/1/gid_attrs/types/{index}": f"{kind}\n" for index, (kind, _) in gids.items()},
    }
    write_files(device / "infiniband" / name, files)
    (device / "infiniband" / name / "device").symlink_to(device)
    _list(root, "sys/class/infiniband", name, device / "infiniband" / name)


def _list(root: Path, folder: str, name: str, target: Path) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / name).symlink_to(target)
