"""The RoCE ports of Ascend NPUs, asked by `hccn_tool`.

The tool talks to each NPU's own network stack and takes seconds, so it has a cadence of its own, and a network that
hangs never delays what `npu-smi` says. It knows NPUs by their physical number, which the driver's device nodes show.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from agent.sources.ascend import FOLDERS, RUN_S, VENDOR
from agent.sources.files import entries
from agent.sources.npu_smi import fields
from agent.sources.numerals import decimal
from agent.sources.remembered import texts
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings import AcceleratorDevice, AscendNetworkReading
from checks.readings.accelerator import Link, Optics

KIND: Final = "RoCE"
UP: Final = "UP"

_NODE = re.compile(r"davinci(\d{1,3})", re.ASCII)
_WORD = re.compile(r"[\w ]{1,32}", re.ASCII)
_LIGHT = re.compile(r"(-?\d{1,6}(?:\.\d{1,6})?) mW", re.ASCII)


class AscendNetworkSource:
    """The port of every NPU of the host."""

    name = "ascend_network"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._store = surroundings.store(self.name)
        self._known = texts(self._store.load().get("known"))
        self._tool = Tool("")

    async def read(self) -> AscendNetworkReading:
        """Return one reading, without devices where there are none or no tool to ask them.

        Raises:
            CannotObserve: a process of the tool does not die.
        """
        numbers = self._numbers()
        reading = AscendNetworkReading(self._surroundings.monotonic(), known=dict(self._known))
        if not self._tool.is_installed:
            self._tool = Tool(self._surroundings.find("hccn_tool", *FOLDERS))
        if not self._tool.is_installed or not numbers:
            missed = "hccn_tool is not installed" if numbers else "no NPU has a device node"
            return replace(reading, failure=missed) if reading.expected else reading
        time = Time(self.timing.deadline_s, RUN_S, monotonic=self._surroundings.monotonic)
        devices = tuple([await self._device(number, time) for number in numbers])
        self._learn(devices)
        return replace(reading, devices=devices, known=dict(self._known))

    async def close(self) -> None:
        """End what still runs."""
        await self._tool.close()

    def _numbers(self) -> list[int]:
        """Return the physical numbers of the host's NPUs."""
        nodes = (_NODE.fullmatch(node.name) for node in entries(self._surroundings.root / "dev"))
        return sorted(int(node[1]) for node in nodes if node)

    async def _device(self, number: int, time: Time) -> AcceleratorDevice:
        device = AcceleratorDevice(VENDOR, f"npu{number}", physical=number)
        try:
            link = parse_link(await self._ask(number, time, "-link"))
            health = parse_health(await self._ask(number, time, "-net_health"))
            optics = parse_optics(await self._ask(number, time, "-optical"))
        except CannotObserve as error:
            if error.stuck:
                raise
            return replace(device, errors={"links": str(error)})
        return replace(device, links=(Link(KIND, state=link, health=health, optics=optics),))

    async def _ask(self, number: int, time: Time, what: str) -> str:
        return (await self._tool.run("-i", str(number), what, "-g", deadline_s=time.left_s())).text

    def _learn(self, devices: tuple[AcceleratorDevice, ...]) -> None:
        """A port that was up is missed from then on."""
        up = {device.name: device.pci for device in devices if any(link.state == UP for link in device.links)}
        if up.keys() - self._known.keys():
            self._known |= up
            self._store.save({"known": self._known})


SOURCE: Final = Declaration(
    name=AscendNetworkSource.name,
    summary="RoCE ports of Ascend NPUs from `hccn_tool`; proven on captured output, not on hardware.",
    reading=AscendNetworkReading,
    timing=Timing(interval_s=300.0, fast_interval_s=120.0, deadline_s=110.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the network stacks of the NPUs",
    make=AscendNetworkSource,
)


def parse_link(text: str) -> str:
    """Return the word of `link status: UP`.

    Raises:
        CannotObserve: the tool printed something else.
    """
    word = _told(text, "link status")
    if not word:
        raise CannotObserve(f"hccn_tool tells no link status: {excerpt(text) or 'it said nothing'}")
    return word


def parse_health(text: str) -> str:
    """Return the words of `net health status: Init`, empty when the tool printed something else."""
    return _told(text, "net health status")


def parse_optics(text: str) -> Optics | None:
    """Return what the optical module says, `None` when the port has none that is asked."""
    told = {name.lower(): value for name, value in fields(text)}
    present = told.get("present")
    if present is None:
        return None
    return Optics(
        present={"present": True, "not present": False}.get(present),
        rx_milliwatt=_light(told.get("rx power", "")),
        rx_low_milliwatt=_light(told.get("rxpower low thres", "")),
        tx_milliwatt=_light(told.get("tx power", "")),
        tx_low_milliwatt=_light(told.get("txpower low thres", "")),
    )


def _told(text: str, name: str) -> str:
    value = {key.lower(): value for key, value in fields(text)}.get(name, "")
    return value if _WORD.fullmatch(value) else ""


def _light(value: str) -> float | None:
    match = _LIGHT.fullmatch(value)
    return decimal(match[1]) if match else None
