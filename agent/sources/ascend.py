"""Huawei Ascend NPUs, asked by `npu-smi`: a process a question, as the tool tells one thing of one chip at a time.

Proven on what the tool printed on other people's hosts, never on our own (docs/explanation/accelerators.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agent.sources import npu_smi, pci
from agent.sources.npu_smi import Chip, Identity
from agent.sources.remembered import learn_devices, texts, wanted_devices
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.manifest import Section
from checks.readings import AcceleratorDevice, AscendReading

VENDOR: Final = "huawei"
PCI_VENDOR: Final = "0x19e5"
PCI_CLASSES: Final = ("0x1200",)
"""Processing accelerators: the vendor's network adapters have its number as well. Source: pci.ids, vendor 19e5."""

FOLDERS: Final = ("usr/local/sbin", "usr/local/bin", "usr/local/Ascend/driver/tools")
"""Where the driver's package puts its tools. Source: CANN driver installation guide."""

RUN_S: Final = 15.0
"""How long one question may take. Source: our choice, ten times what the tool takes on a busy host."""

UNSUPPORTED: Final = "not support"
"""What the tool says of a part that the chip does not have. Source: CANN driver, `npu_smi`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a device as a question's answer tells it.

    Attributes:
        is_everywhere: whether every chip has it. Another part is missed only where it was seen before, since the
            tool's words for "this chip has none" differ from version to version.
    """

    name: str
    parse: Callable[[str], object]
    is_everywhere: bool = True


QUESTIONS: Final[Mapping[str, tuple[Part, ...]]] = {
    "health": (Part("health", npu_smi.parse_health),),
    "ecc": (Part("ecc", npu_smi.parse_ecc), Part("bad_pages", npu_smi.parse_bad_pages, is_everywhere=False)),
    "temp": (Part("temperatures", npu_smi.parse_temperatures),),
    "power": (Part("power_watts", npu_smi.parse_power, is_everywhere=False),),
    "hccs": (Part("links", npu_smi.parse_hccs, is_everywhere=False),),
}
"""Question (`-t`) → what its answer tells."""


@dataclass(slots=True)
class Answers:
    """What one chip said, part by part, and why it did not.

    Attributes:
        had: the parts that it was seen to have; more are added as it says more.
    """

    had: set[str]
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def take(self, part: Part, text: str) -> None:
        """Note what the text says of a part."""
        value = part.parse(text)
        if value not in (None, ()):
            self.values[part.name] = value
            self.had.add(part.name)
        elif UNSUPPORTED not in text and (part.is_everywhere or part.name in self.had):
            self.errors[part.name] = excerpt(text) or "the tool said nothing"


class AscendSource:
    """All NPUs of the host."""

    name = "ascend"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._store = surroundings.store(self.name)
        self._known = texts(self._store.load().get("known"))
        self._tool = Tool("")
        self._identities: dict[Chip, Identity] = {}
        self._had: defaultdict[Chip, set[str]] = defaultdict(set)

    async def read(self) -> AscendReading:
        """Return one reading; a tool that does not answer is a reading too.

        Raises:
            CannotObserve: a process of the tool does not die.
        """
        present = pci.addresses(self._surroundings.sysfs, PCI_VENDOR, PCI_CLASSES)
        known = self._wanted(self._known, ())
        reading = AscendReading(self._surroundings.monotonic(), present=present, known=known)
        if not self._tool.is_installed:
            self._tool = Tool(self._surroundings.find("npu-smi", *FOLDERS))
        if not self._tool.is_installed:
            return replace(reading, failure="npu-smi is not installed") if reading.expected else reading
        try:
            return self._learnt(replace(reading, devices=await self._devices()))
        except CannotObserve as error:
            if error.stuck:
                raise
            return replace(reading, failure=str(error)) if reading.expected else reading

    async def close(self) -> None:
        """End what still runs."""
        await self._tool.close()

    async def _devices(self) -> tuple[AcceleratorDevice, ...]:
        time = Time(self.timing.deadline_s, RUN_S, monotonic=self._surroundings.monotonic)
        text = await self._ask(time, "-m")
        chips = npu_smi.parse_mapping(text)
        if not chips:
            raise CannotObserve(f"npu-smi info -m lists no chip: {excerpt(text) or 'it said nothing'}")
        return tuple([await self._device(chip, time) for chip in chips])

    async def _device(self, chip: Chip, time: Time) -> AcceleratorDevice:
        answers = Answers(self._had[chip])
        identity = await self._identity(chip, time, answers)
        for question, parts in QUESTIONS.items():
            await self._question(chip, question, parts, time, answers)
        number = chip.physical if chip.physical is not None else chip.logical
        return AcceleratorDevice(
            vendor=VENDOR,
            name=f"npu{number}",
            logical=chip.logical,
            physical=chip.physical,
            card=chip.card,
            chip=chip.chip,
            uuid=identity.uuid,
            pci=identity.pci,
            serial=identity.serial,
            slot=identity.slot,
            model=chip.model,
            errors=answers.errors,
            **answers.values,
        )

    async def _question(self, chip: Chip, question: str, parts: tuple[Part, ...], time: Time, answers: Answers) -> None:
        try:
            text = await self._ask(time, "-t", question, "-i", str(chip.card), "-c", str(chip.chip))
        except CannotObserve as error:
            if error.stuck:
                raise
            answers.errors |= {part.name: str(error) for part in parts}
            return
        for part in parts:
            answers.take(part, text)

    async def _identity(self, chip: Chip, time: Time, answers: Answers) -> Identity:
        """Return who the chip is. It is asked until it says so, and never again."""
        if chip in self._identities:
            return self._identities[chip]
        try:
            card = await self._ask(time, "-t", "board", "-i", str(chip.card))
            text = await self._ask(time, "-t", "board", "-i", str(chip.card), "-c", str(chip.chip))
        except CannotObserve as error:
            if error.stuck:
                raise
            answers.errors["identity"] = str(error)
            return Identity()
        identity = npu_smi.parse_identity(card, text)
        if identity.uuid and identity.pci:
            self._identities[chip] = identity
        else:
            answers.errors["identity"] = excerpt(text) or "the tool said nothing"
        return identity

    async def _ask(self, time: Time, *question: str) -> str:
        return (await self._tool.run("info", *question, deadline_s=time.left_s())).text

    def _wanted(self, learnt: Mapping[str, str], devices: Iterable[AcceleratorDevice]) -> dict[str, str]:
        approved = self._surroundings.approved.section(Section.ACCELERATORS)
        return wanted_devices(approved, VENDOR, learnt, devices)

    def _learnt(self, reading: AscendReading) -> AscendReading:
        known = self._wanted(learn_devices(self._known, reading.devices), reading.devices)
        if known != self._known:
            self._known = known
            self._store.save({"known": known})
        return replace(reading, known=dict(known))


SOURCE: Final = Declaration(
    name=AscendSource.name,
    summary="Huawei Ascend NPUs from `npu-smi`; proven on captured output, not on hardware.",
    reading=AscendReading,
    timing=Timing(interval_s=300.0, fast_interval_s=120.0, deadline_s=110.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the Ascend driver",
    make=AscendSource,
)
