"""The platform around the GPUs, from sysfs: EDAC's counts of memory errors, PCI links and their errors, processors.

Absent counters are no fault: a virtual machine has none of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader
from agent.sources.pcie_link import read_lanes
from agent.sources.platform_files import DeviceFiles, ModuleFiles, PlatformFiles, find, listing
from agent.sources.remembered import numbers
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.readings import PlatformReading
from checks.readings.platform import MemoryModule, PciDevice

PERFORMANCE: Final = "performance"
"""A governor, and an energy preference that comes to the same. Source: kernel, admin-guide/pm/intel_pstate.rst."""

_ERROR = re.compile(r"^(\S[^\n]{0,60}?) (\d{1,20})$", re.MULTILINE | re.ASCII)


class PlatformSource:
    """Memory modules, PCI devices and processors."""

    name = "platform"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._sysfs, self._monotonic = surroundings.sysfs, surroundings.monotonic
        self._boot_id_file = surroundings.procfs / "sys/kernel/random/boot_id"
        self._reader = FileReader(surroundings.find("grep"))
        self._store = surroundings.store(self.name)
        self._seen = self._store.load()
        self._listed: tuple[tuple[str, ...], ...] = ()
        self._files: PlatformFiles | None = None

    async def read(self) -> PlatformReading:
        """Return one reading.

        Raises:
            CannotObserve: a driver or a device does not let go of its files.
        """
        files = self._find()
        contents = await self._reader.read([*files.paths(), self._boot_id_file], deadline_s=self.timing.deadline_s)
        at_first = self._first_sight(contents, files.devices)
        return PlatformReading(
            self._monotonic(),
            modules=tuple(read_modules(files.modules, contents)),
            devices=tuple(read_device(device, contents, at_first) for device in files.devices),
            throttles=read_throttles(files.throttles, contents),
            governors=read_governors(files.governors, contents),
            clocksource=contents.line(files.clocksource),
        )

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()

    def _find(self) -> PlatformFiles:
        listed = listing(self._sysfs)
        if self._files is None or listed != self._listed:
            self._listed, self._files = listed, find(self._sysfs)
        return self._files

    def _first_sight(self, contents: Contents, devices: Iterable[DeviceFiles]) -> dict[str, float]:
        """Return address → fatal errors that it had when it was first seen in this boot.

        A device that was taken off the bus and found again counts from nought, so what it had first is lowered then.
        """
        boot_id = contents.line(self._boot_id_file)
        known = numbers(self._seen.get("fatal")) if self._seen.get("boot_id") == boot_id else {}
        fatal = {each.function.address: parse_errors(contents.text(each.fatal)) for each in devices}
        now = {address: float(sum(counts.values())) for address, counts in fatal.items() if counts is not None}
        first = known | {address: min(count, known.get(address, count)) for address, count in now.items()}
        seen = {"boot_id": boot_id, "fatal": first}
        if seen != self._seen:
            self._seen = seen
            self._store.save(seen)
        return first


SOURCE: Final = Declaration(
    name=PlatformSource.name,
    summary="Memory errors (EDAC), PCI links and errors (AER), and processors, from sysfs.",
    reading=PlatformReading,
    timing=Timing(interval_s=60.0, fast_interval_s=30.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="a device that no longer answers on the PCI bus",
    make=PlatformSource,
)


def read_modules(files: Iterable[ModuleFiles], contents: Contents) -> Iterator[MemoryModule]:
    """Yield what EDAC counted, module by module, and of each controller what it could not place."""
    for each in files:
        label = contents.line(each.label) if each.label is not None else ""
        yield MemoryModule(each.name, label, contents.number(each.corrected), contents.number(each.uncorrected))


def read_device(files: DeviceFiles, contents: Contents, at_first: Mapping[str, float]) -> PciDevice:
    """Return one device or port with its errors and its link."""
    function = files.function
    first = at_first.get(function.address)
    width, max_width, above = [*(read_lanes(path, contents) for path in files.widths), None, None, None][:3]
    return PciDevice(
        function.address,
        function.kind,
        function.upstream,
        correctable=parse_errors(contents.text(files.correctable)),
        nonfatal=parse_errors(contents.text(files.nonfatal)),
        fatal=parse_errors(contents.text(files.fatal)),
        fatal_at_first=None if first is None else int(first),
        width=width,
        max_width=max_width,
        upstream_max_width=above,
    )


def parse_errors(said: str) -> dict[str, int] | None:
    """Return kind of error → count, without those of which there are none; `None` when the file said nothing.

    The last line is a total that is not always the sum of the others: one report can name several kinds.
    """
    counts = {name: int(count) for name, count in _ERROR.findall(said)}
    if not counts:
        return None
    return {name: count for name, count in counts.items() if count and not name.startswith("TOTAL_ERR")}


def read_throttles(files: Iterable[Path], contents: Contents) -> int | None:
    """Return how often any core or package was too hot, `None` where nobody counts."""
    known = [count for path in files if (count := contents.number(path)) is not None]
    return sum(known) if known else None


def read_governors(files: Iterable[tuple[Path, Path]], contents: Contents) -> dict[str, int]:
    """Return governor → number of policies; a preference for performance is performance by another name."""
    governors: Counter[str] = Counter()
    for governor, preference in files:
        named = PERFORMANCE if contents.line(preference) == PERFORMANCE else contents.line(governor)
        if named:
            governors[named] += 1
    return dict(governors)
