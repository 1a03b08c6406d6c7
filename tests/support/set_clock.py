"""A process whose wall clock can be set while it runs, as a person or a wrong NTP server does."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "doubles" / "clock" / "set_clock.c"


class SetClock:
    """The clock of every process that is started with `environment`."""

    def __init__(self, folder: Path) -> None:
        """Compile it; it shows the right time."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._library = folder / "offset", folder / "set_clock.so"
        self._file.write_bytes(bytes(8))
        command = ("gcc", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", self._library, SOURCE)
        subprocess.run(command, check=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to be started with."""
        return {"LD_PRELOAD": str(self._library), "FLEETMEND_TEST_CLOCK": str(self._file)}

    def set(self, ahead_s: int) -> None:
        """Set it so far ahead of the right time."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("<q", ahead_s))
