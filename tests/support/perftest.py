"""Programs in place of perftest's on a PATH, and what they were asked.

Their reports have the names, and the lack of quotes, of two releases. Source: `strings` of Debian's ib_write_bw
4.5+0.17; src/perftest_parameters.c of linux-rdma/perftest 00115b0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.checkout import ROOT
from tests.support.surroundings import write_program

OLD, NEW = "old", "new"
PROGRAM = ROOT / "tests/doubles/perftest/program.py"


def install_perftest(
    folder: Path,
    *,
    release: str = NEW,
    reports: bool = True,
    gpu: bool = False,
    rates: Mapping[str, float] | None = None,
    broken: tuple[str, ...] = (),
    hangs: bool = False,
) -> None:
    """Put ib_write_bw and ib_write_lat into a folder.

    Args:
        reports: whether they know reports at all; `gpu`: whether they were built for GPUs.
        rates: adapter → Gb/s that a client on it reports, 392 for others.
        broken: adapters on which both ends fail.
        hangs: no client ever ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    says = {"release": release, "reports": reports, "gpu": gpu, "rates": dict(rates or {}), "broken": broken}
    (folder / "says.json").write_text(json.dumps({**says, "hangs": hangs}))
    for name in ("ib_write_bw", "ib_write_lat"):
        write_program(folder, name, f'exec {sys.executable} {PROGRAM} {name} {folder} "$@"')


def asked(folder: Path) -> list[str]:
    """Return the command lines so far, without the helps."""
    return (folder / "asked").read_text().splitlines()
