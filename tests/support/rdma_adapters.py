"""RDMA adapters in the sysfs of a source's test, as mlx5 shows them."""

from __future__ import annotations

from pathlib import Path

from tests.support.surroundings import write_files

MELLANOX, CONNECTX_7 = "0x15b3", "0x1021"


def add_adapter(
    root: Path,
    number: int,
    interface: str,
    *,
    is_virtual: bool = False,
    vendor: str = MELLANOX,
    device: str = CONNECTX_7,
    state: str = "4: ACTIVE",
) -> None:
    """Add `mlx5_<number>` with one port at PCI address `0000:1<number>:00.0`. `interface`: empty for none."""
    address = f"sys/devices/pci0000:00/0000:1{number}:00.0"
    files = {
        "vendor": f"{vendor}\n",
        "device": f"{device}\n",
        f"infiniband/mlx5_{number}/node_guid": f"b83f:d203:00ab:cd0{number}\n",
        f"infiniband/mlx5_{number}/ports/1/state": f"{state}\n",
        f"infiniband/mlx5_{number}/ports/1/phys_state": "5: LinkUp\n",
        **({f"net/{interface}/dev_port": "0\n"} if interface else {}),
        **({"physfn/vendor": f"{vendor}\n"} if is_virtual else {}),
    }
    write_files(root / address, files)
    adapter = root / address / f"infiniband/mlx5_{number}"
    (adapter / "device").symlink_to("../..")
    listed = root / "sys/class/infiniband"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / f"mlx5_{number}").symlink_to(adapter)
