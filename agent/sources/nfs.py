"""NFS mounts by the counters of the kernel's RPC client, which asks no server for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.sources.mount_table import unescape
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.thread import Apart
from checks.errors import CannotObserve
from checks.readings import NfsMount, NfsReading

_MOUNT = re.compile(r"device (\S{1,4096}) mounted on (\S{1,4096}) with fstype (nfs4?)\b", re.ASCII)
_AGE = re.compile(r"\s*age:\s+(\d{1,15})\s*$", re.ASCII)
_TRANSPORT = re.compile(r"\s*xprt:\s+(?:tcp|rdma) \d{1,10} \d{1,10} (\d{1,15})\b", re.ASCII)
_OPERATION = re.compile(r"\s*[A-Z][A-Z0-9_]{0,40}: (\d{1,20}) (\d{1,20}) (\d{1,20}) ", re.ASCII)
"""Lines of one mount. Source: kernel, net/sunrpc/stats.c (`_print_rpc_iostats`), net/sunrpc/xprtsock.c
(`xs_tcp_print_stats`), fs/nfs/super.c (`nfs_show_stats`)."""


class NfsSource:
    """Every NFS mount of the host."""

    name = "nfs"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._monotonic = surroundings.monotonic
        path = surroundings.procfs / "self/mountstats"
        self._text = Apart("mountstats", lambda: _read(path))

    async def read(self) -> NfsReading:
        """Return one reading, without mounts where there are none.

        Raises:
            CannotObserve: procfs does not answer.
        """
        text = await self._text.result(deadline_s=self.timing.deadline_s)
        return NfsReading(self._monotonic(), tuple(parse_mountstats(text)))

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""


SOURCE: Final = Declaration(
    name=NfsSource.name,
    summary="Counters of NFS mounts from /proc/self/mountstats.",
    reading=NfsReading,
    timing=Timing(interval_s=60.0, fast_interval_s=30.0, deadline_s=5.0),
    cost=Cost.LOW,
    privilege=Privilege.NONE,
    hangs_with="procfs",
    make=NfsSource,
)


def parse_mountstats(text: str) -> Iterator[NfsMount]:
    """Yield every NFS mount; lines that are none of theirs say nothing."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("device "):
            yield from _mount(lines)
            lines = []
        lines.append(line)
    yield from _mount(lines)


def _mount(lines: list[str]) -> Iterator[NfsMount]:
    match = _MOUNT.match(lines[0]) if lines else None
    if match is None:
        return
    ages = [int(age[1]) for line in lines if (age := _AGE.match(line))]
    connections = [int(transport[1]) for line in lines if (transport := _TRANSPORT.match(line))]
    counts = [tuple(map(int, operation.groups())) for line in lines if (operation := _OPERATION.match(line))]
    yield NfsMount(
        mount=unescape(match[2]),
        device=unescape(match[1]),
        kind=match[3],
        age_s=ages[0] if ages else None,
        operations=sum(count[0] for count in counts),
        transmissions=sum(count[1] for count in counts),
        timeouts=sum(count[2] for count in counts),
        connections=sum(connections) if connections else None,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CannotObserve(f"{path}: {error.strerror}") from error
