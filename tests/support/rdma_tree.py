"""An RDMA adapter in a folder, as sysfs shows a real one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.surroundings import write_files

ADAPTER = {
    "node_guid": "a088:c203:00ab:cdef\n",
    "sys_image_guid": "a088:c203:00ab:cdef\n",
    "fw_ver": "28.39.1002\n",
    "board_id": "MT_0000000838\n",
    "hca_type": "MT4129\n",
}
PORT = {
    "state": "4: ACTIVE\n",
    "phys_state": "5: LinkUp\n",
    "rate": "400 Gb/sec (4X NDR)\n",
    "link_layer": "InfiniBand\n",
    "lid": "0x12\n",
    "sm_lid": "0x1\n",
    "counters/link_downed": "3\n",
    "counters/symbol_error": "0\n",
}


def add_adapter(
    root: Path, name: str = "mlx5_0", *, files: Mapping[str, str | bytes] | None = None, pci: str = "0000:3b:00.0"
) -> Path:
    """Add an adapter with one port below `root/sys` and return its folder.

    Args:
        files: more files, and others' text, by their path below the adapter's folder.
    """
    device = root / "sys/devices/pci0000:3a/0000:3a:01.0" / pci
    adapter = device / "infiniband" / name
    write_files(adapter, {**ADAPTER, **{f"ports/1/{file}": text for file, text in PORT.items()}, **(files or {})})
    (adapter / "device").symlink_to(device)
    listed = root / "sys/class/infiniband" / name
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.symlink_to(adapter)
    return adapter
