"""Programs of a test's own in front of Slurm's, so that it can be there between two of them, or in their place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_programs import SlurmPrograms
from tests.support.slurm import SlurmCluster


@dataclass(frozen=True)
class Programs:
    """A folder of programs that are found before Slurm's."""

    directory: Path
    cluster: SlurmCluster

    def put(self, name: str, script: str) -> None:
        """Put a shell script in the place of a program; `$REAL` is the real one."""
        real = shutil.which(name, path=self.cluster.env()["PATH"])
        program = self.directory / name
        program.write_text(f"#!/bin/sh\nREAL={real}\n{script}\n")
        program.chmod(0o755)

    def slurm(self) -> SlurmScheduler:
        """Return an adapter that finds ours first."""
        return SlurmScheduler(self.found_first())

    def found_first(self) -> SlurmPrograms:
        """Return what runs ours where there is one."""
        known = self.cluster.env()
        return SlurmPrograms(environment={**known, "PATH": f"{self.directory}:{known['PATH']}"})
