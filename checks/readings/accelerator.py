"""Accelerators that no NVML speaks for, in one shape for every vendor: what their tools say, in the tools' own words.

Words, codes and units stay the vendor's where a check has to know them (`Alarm`, `80E18402`): to turn them into a
verdict is the checks' work, so that a table that was wrong can be applied again to what was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that the device reports of itself: the vendor's code (hexadecimal, upper case) and its text."""

    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What the vendor's tool calls the device, e.g. `OK` or `Alarm`, with every code that it gives for it."""

    said: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class EccCount:
    """Memory errors of one block, as totals: `HBM` and `DDR` of an NPU, `UMC`, `GFX`, `SDMA`, ... of a GPU.

    Attributes:
        deferred: errors that were found and that nobody has read yet.
    """

    block: str
    corrected: int | None = None
    uncorrected: int | None = None
    deferred: int | None = None


@dataclass(frozen=True, slots=True)
class BadPages:
    """Pages of device memory that are bad.

    Attributes:
        retired: no longer used.
        pending: will be retired at the next restart of the device, and are in use until then.
        unreservable: could not be retired.
        threshold: so many are too many, by the driver's own word.
    """

    retired: int | None = None
    pending: int | None = None
    unreservable: int | None = None
    threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Optics:
    """The optical module of a port: light in mW with the limits that the module states of itself."""

    present: bool | None = None
    rx_milliwatt: float | None = None
    rx_low_milliwatt: float | None = None
    tx_milliwatt: float | None = None
    tx_low_milliwatt: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the device.

    Attributes:
        kind: `HCCS`, `RoCE` or `XGMI`.
        peer: the other end, or the number of the link where the tool does not say.
        state: the tool's word.
        lanes: in use.
        errors, retries: totals.
        health: what the tool says of the path behind the port.
    """

    kind: str
    peer: str = ""
    state: str = ""
    lanes: int | None = None
    errors: int | None = None
    retries: int | None = None
    health: str = ""
    optics: Optics | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """One reason for which the device slows itself down.

    Attributes:
        kind: `prochot`, `ppt` (power), `socket_thermal`, `vr_thermal`, `hbm_thermal`.
        active: whether it holds now.
        accumulated: how long it held, in the unit in which `AcceleratorDevice.throttle_clock` counts the time.
    """

    kind: str
    active: bool | None = None
    accumulated: int | None = None


@dataclass(frozen=True, slots=True)
class Temperature:
    """One sensor, with the limits that the device states of itself."""

    sensor: str
    celsius: float
    slowdown_celsius: float | None = None
    shutdown_celsius: float | None = None


@dataclass(frozen=True, slots=True)
class PcieLink:
    """The link to the host. `best_width`: the widest that it ever was on this host."""

    width: int | None = None
    max_width: int | None = None
    best_width: int | None = None
    speed_gt_per_s: float | None = None
    max_speed_gt_per_s: float | None = None
    replays: int | None = None


@dataclass(frozen=True, slots=True)
class AcceleratorDevice:
    """One device. What it does not have, or could not be asked for, is `None` or empty.

    Attributes:
        name: what people on the host call it: `npu0`, `gpu0`.
        logical: number by which jobs know it; physical: number on the machine. They differ inside containers.
        card, chip: how the vendor's tool is asked for it, where it has such numbers.
        pci: `dddd:bb:dd`, lower case, no function.
        throttle_clock: total of the time that `Throttle.accumulated` is a part of.
        errors: part → why it could not be read. A part that the device does not have is no error.
    """

    vendor: str
    name: str
    logical: int | None = None
    physical: int | None = None
    card: int | None = None
    chip: int | None = None
    uuid: str = ""
    pci: str = ""
    serial: str = ""
    slot: str = ""
    model: str = ""
    health: Health | None = None
    ecc: tuple[EccCount, ...] = ()
    bad_pages: BadPages | None = None
    links: tuple[Link, ...] = ()
    throttles: tuple[Throttle, ...] = ()
    throttle_clock: int | None = None
    temperatures: tuple[Temperature, ...] = ()
    power_watts: float | None = None
    pcie: PcieLink | None = None
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def capabilities(self) -> frozenset[str]:
        """The parts that this device was seen to have."""
        parts = ("health", "ecc", "bad_pages", "links", "throttles", "temperatures", "power_watts", "pcie")
        return frozenset(part for part in parts if getattr(self, part) not in (None, ()))


@dataclass(frozen=True, slots=True)
class AcceleratorReading:
    """All devices of one vendor, or why they could not be asked.

    Attributes:
        present: PCI addresses at which the host has devices of this vendor, whatever its tool says.
        failure: why none could be asked, empty when they were, and on a host that has none.
        known: device → PCI address of every device that was ever seen on this host.
    """

    at_s: float
    devices: tuple[AcceleratorDevice, ...] = ()
    present: tuple[str, ...] = ()
    failure: str = ""
    known: dict[str, str] = field(default_factory=dict)

    @property
    def expected(self) -> bool:
        """Whether this host has, or once had, devices of this vendor."""
        return bool(self.present or self.known)


@dataclass(frozen=True, slots=True)
class AscendReading(AcceleratorReading):
    """Huawei Ascend NPUs, as `npu-smi` tells them."""

    SOURCE: ClassVar[str] = "ascend"
    PARTS: ClassVar[str] = "devices"


@dataclass(frozen=True, slots=True)
class AscendNetworkReading(AcceleratorReading):
    """The RoCE ports that NPUs have of their own, as `hccn_tool` tells them.

    `known` holds the devices whose port was ever up: a port without a cable never is, and that is no fault.
    """

    SOURCE: ClassVar[str] = "ascend_network"
    PARTS: ClassVar[str] = "devices"


@dataclass(frozen=True, slots=True)
class AmdReading(AcceleratorReading):
    """AMD GPUs, as `amd-smi` or the driver's files tell them."""

    SOURCE: ClassVar[str] = "amd"
    PARTS: ClassVar[str] = "devices"
