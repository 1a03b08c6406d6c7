"""What the GPUs of a host are, for results to be compared with those of hosts like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.bench.cuda import Gpu
from agent.bench.gpu_machine import expects_nvls, machine_of

GPU = Gpu(0, 0, "GPU-0", "0000:1b:00.0", "NVIDIA H100 80GB HBM3", 80 << 30, (9, 0), multicast=True)


def gpus(count: int, **rest: object) -> list[Gpu]:
    return [replace(GPU, index=n, handle=n, pci=f"0000:{0x1B + n:02x}:00.0", **rest) for n in range(count)]  # type: ignore[arg-type]


class Driver:
    """The driver's answers about ways between GPUs, in place of the library."""

    version = (12, 4)

    def __init__(self, *, slow: int = -1) -> None:
        self.slow = slow

    def can_copy_between(self, one: Gpu, other: Gpu) -> bool:
        return one != other

    def rank_between(self, one: Gpu, other: Gpu) -> int:
        return int(self.slow in {one.index, other.index})


def topology(driver: Driver, count: int = 8) -> str:
    return machine_of(driver, gpus(count), root=Path("/nowhere")).topology  # type: ignore[arg-type]


def test_a_host_is_what_its_gpus_and_its_driver_are(tmp_path: Path) -> None:
    module = tmp_path / "sys/module/nvidia"
    module.mkdir(parents=True)
    (module / "version").write_text("550.127.05\n")

    machine = machine_of(Driver(), gpus(8), nccl="2.28.3", root=tmp_path)  # type: ignore[arg-type]

    assert (machine.sku, machine.driver, machine.nccl, machine.gpus) == ("H100", "550.127.05", "2.28.3", 8)


def test_without_the_modules_version_the_newest_cuda_stands_for_it() -> None:
    assert machine_of(Driver(), gpus(1), root=Path("/nowhere")).driver == "CUDA 12.4"  # type: ignore[arg-type]


def test_hosts_are_alike_when_their_gpus_sit_alike_and_reach_each_other_alike() -> None:
    assert topology(Driver()) == topology(Driver())
    assert len({topology(Driver()), topology(Driver(), 7), topology(Driver(slow=3))}) == 3


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (gpus(8), True),
        (gpus(8, multicast=False), True),
        (gpus(4), False),
        (gpus(8, model="NVIDIA H100 PCIe", multicast=False), False),
        (gpus(8, model="NVIDIA H20"), True),
        (gpus(8, model="NVIDIA A100-SXM4-80GB", capability=(8, 0)), False),
    ],
)
def test_nvls_is_expected_where_there_are_nvswitches(models: list[Gpu], expected: bool) -> None:
    assert expects_nvls(models) is expected
