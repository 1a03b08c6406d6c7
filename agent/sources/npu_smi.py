"""What Huawei's `npu-smi info` prints, read back.

Most of it is `key : value` a line, under names that differ from version to version and from chip to chip: the names of
all of them are looked for, and what is not found is not there. Source: `npu-smi` 23.0.5, 25.5.1 as captured on hosts
and in the vendor's manuals, and its source as published with the CANN driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.sources.numerals import decimal, whole
from checks.readings.accelerator import BadPages, EccCount, Fault, Health, Link, Temperature

MAX_FAULTS: Final = 128
"""Source: DCMI API reference, `dcmi_get_device_errorcode_v2`: up to 128 codes."""

MAX_CHIPS: Final = 64

RETIRED: Final = (" Bit Isolated Pages Count", "HBM Isolated Page Count")
PENDING: Final = ("Next-Isolated Pages Count", "Pending Retire Page Count")
"""Names of pages that are isolated, and that will be at the next restart."""

_COLUMNS = re.compile(r"\s{2,}|\t")
_CODE = re.compile(r"(?:0x)?([0-9A-Fa-f]{4,8})")
_TEMPERATURE = re.compile(r"(?:(\w{1,16}) )?Temperature ?\(C\)")
_PCI = re.compile(r"([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2})\.[0-7]")
_HEX = re.compile(r"[0-9A-Fa-f]{8}(?: [0-9A-Fa-f]{8}){1,7}")
_NOTHING = frozenset({"", "NA", "N/A", "-", "Failed"})


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip: how the tool is asked for it, and the numbers by which others know it."""

    card: int
    chip: int
    logical: int | None
    physical: int | None
    model: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a chip is."""

    pci: str = ""
    uuid: str = ""
    serial: str = ""
    slot: str = ""


def parse_mapping(text: str) -> tuple[Chip, ...]:
    """Return every chip that computes, from `npu-smi info -m`; the board's micro-controllers are none."""
    rows = [_COLUMNS.split(line.strip()) for line in text.splitlines() if line.strip()]
    head = next((number for number, row in enumerate(rows) if row[0] == "NPU ID"), None)
    if head is None:
        return ()
    chips = (_chip(dict(zip(rows[head], row, strict=False))) for row in rows[head + 1 :][: 2 * MAX_CHIPS])
    return tuple(chip for chip in chips if chip is not None)[:MAX_CHIPS]


def _chip(row: dict[str, str]) -> Chip | None:
    card, chip = whole(row.get("NPU ID")), whole(row.get("Chip ID"))
    logical, physical = whole(row.get("Chip Logic ID")), whole(row.get("Chip Phy-ID"))
    if card is None or chip is None or (logical is None and physical is None):
        return None
    return Chip(card, chip, logical, physical, row.get("Chip Name", ""))


def parse_identity(card: str, chip: str) -> Identity:
    """Return who a chip is, from `-t board` of its card and of itself.

    A card with several chips has one serial number; the number of the die (`VDie ID`) is each chip's own.
    """
    of_card, of_chip = dict(fields(card)), dict(fields(chip))
    pci = _PCI.fullmatch(of_chip.get("PCIe Bus Info", "") or of_card.get("PCIe Bus Info", ""))
    die = of_chip.get("VDie ID", "")
    return Identity(
        pci=pci[1].lower() if pci else "",
        uuid=die.replace(" ", "-") if _HEX.fullmatch(die) else "",
        serial=_text(of_card.get("Serial Number")),
        slot=_text(of_card.get("Slot ID")),
    )


def parse_health(text: str) -> Health | None:
    """Return the device's health from `-t health`, `None` when the text does not tell it."""
    lines = tuple(fields(text))
    told = dict(lines)
    said = _text(told.get("Health Status")) or _text(told.get("Health"))
    if not said:
        return None
    codes = [match[1].upper() for word in told.get("Error Code", "").split() if (match := _CODE.fullmatch(word))]
    texts = [value for name, value in _after(lines, "Error Information") if name in ("", "Error Information")]
    texts += [""] * len(codes)
    return Health(said, tuple(map(Fault, codes[:MAX_FAULTS], texts)))


def parse_ecc(text: str) -> tuple[EccCount, ...]:
    """Return the memory errors from `-t ecc`: the totals of the device's life where it has them."""
    told = dict(fields(text))
    blocks = ("HBM", "DDR")
    found = [EccCount(name, _errors(told, f"{name} Single"), _errors(told, f"{name} Double")) for name in blocks]
    found.append(EccCount("DDR", _first(told, "Single-bit Error Count"), _first(told, "Double-bit Error Count")))
    return tuple(count for count in found if (count.corrected, count.uncorrected) != (None, None))


def _errors(told: dict[str, str], kind: str) -> int | None:
    return _first(told, f"{kind} Bit Aggregate Total Err Cnt", f"{kind} Bit Error Count")


def parse_bad_pages(text: str) -> BadPages | None:
    """Return the pages from `-t ecc` that are isolated, or will be at the next restart."""
    told = dict(fields(text))
    retired = _sum(value for name, value in told.items() if name.endswith(RETIRED))
    pending = _sum(value for name, value in told.items() if name.endswith(PENDING))
    return None if retired is None and pending is None else BadPages(retired=retired, pending=pending)


def parse_temperatures(text: str) -> tuple[Temperature, ...]:
    """Return the chip's own sensors from `-t temp`."""
    found = ((_TEMPERATURE.fullmatch(name), decimal(value)) for name, value in fields(text))
    return tuple(Temperature(match[1] or "NPU", celsius) for match, celsius in found if match and celsius is not None)


def parse_power(text: str) -> float | None:
    """Return the power in watts from `-t power`."""
    return decimal(dict(fields(text)).get("NPU Real-time Power(W)"))


def parse_hccs(text: str) -> tuple[Link, ...]:
    """Return the HCCS links from `-t hccs`; one without a number of its own when the tool tells the state alone."""
    told = {name.lower(): value for name, value in fields(text)}
    state = _text(told.get("hccs health status"))
    if not state:
        return ()
    names = ("lane mode", "error count", "retry count")
    lanes, errors, retries = (_array(told.get(f"hccs {name}", "")) for name in names)
    count = max(len(lanes), len(errors), 1)
    return tuple(
        Link("HCCS", str(number), state, _at(lanes, number), _at(errors, number), _at(retries, number))
        for number in range(min(count, MAX_CHIPS))
    )


def fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of every line that has them; the name is empty where a line goes on with the one before."""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield " ".join(name.split()), " ".join(_printable(value).split())


def _after(lines: Sequence[tuple[str, str]], name: str) -> Sequence[tuple[str, str]]:
    """Return the lines from the one of that name on, up to the next that has another."""
    start = next((number for number, line in enumerate(lines) if line[0] == name), len(lines))
    end = next((number for number in range(start + 1, len(lines)) if lines[number][0]), len(lines))
    return [line for line in lines[start:end] if line[1] not in _NOTHING]


def _first(told: dict[str, str], *names: str) -> int | None:
    return next((number for name in names if (number := whole(told.get(name))) is not None), None)


def _sum(values: Iterable[str]) -> int | None:
    known = [number for value in values if (number := whole(value)) is not None]
    return sum(known) if known else None


def _array(value: str) -> list[int | None]:
    return [whole(word) for word in value.strip("[]").split()]


def _at(numbers: Sequence[int | None], index: int) -> int | None:
    return numbers[index] if index < len(numbers) else None


def _text(value: str | None) -> str:
    return "" if value is None or value in _NOTHING else value[:64]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:1024]
