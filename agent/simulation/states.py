"""What is true of a simulated machine, in one file: `machine.json`.

Every process that touches the machine (its agent, drills, the supervisor) reads it anew, changes it under a lock and
replaces it as a whole. All that its agent can see of it is derived from here (agent/simulation/hardware.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import statistics
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from agent.simulation.drill_fault import Repair

FILE: Final = "machine.json"
LOCK: Final = "lock"
KERNEL_RELEASE: Final = "6.8.0-60-generic"


class MachineBroken(Exception):
    """The directory holds no simulated machine that can be used."""


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """One fault that the machine has.

    Attributes:
        part: index of the GPU, name of the port (`mlx5_0/1`), or `host`.
        number: how many faults this machine had up to and including this one.
        attempts: repairs tried so far.
        is_after_boot: whether a boot has not mended it.
        ends_at: Unix time at which it is over by itself, 0 for never.
    """

    name: str
    part: str
    number: int
    repair: Repair = Repair.CHANCE
    attempts: int = 0
    is_after_boot: bool = False
    ends_at: float = 0.0


@dataclass(frozen=True, slots=True)
class MachineState:
    """The ground truth.

    Attributes:
        speedup: simulated seconds a second; durations of repairs are divided by it.
        booted_at: Unix time.
        faults_so_far: how many there ever were.
        remapped_rows: GPU index → rows that uncorrectable errors have used up; no reset gives them back.
        flaps: port → how often its link went down since the boot.
        agent_stays_dead: a drill wants no agent on this node.
    """

    name: str
    seed: int
    speedup: float
    boot_id: str
    booted_at: float
    boots: int = 1
    faults_so_far: int = 0
    faults: tuple[ActiveFault, ...] = ()
    remapped_rows: dict[str, int] = field(default_factory=dict)
    flaps: dict[str, int] = field(default_factory=dict)
    agent_stays_dead: bool = False


def load(directory: Path) -> MachineState:
    """Return the state of the machine in this directory.

    Raises:
        MachineBroken: there is none, or its file is damaged.
    """
    path = directory / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=MachineState)
    except OSError as error:
        raise MachineBroken(f"{path}: {error.strerror}; SimulatedMachine.create makes a machine there") from error
    except msgspec.DecodeError as error:
        raise MachineBroken(f"{path}: not the state of a simulated machine: {error}") from error


def save(directory: Path, state: MachineState) -> None:
    """Replace the state as a whole."""
    replace_file(directory / FILE, msgspec.json.format(msgspec.json.encode(state)), scratch=directory)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let nobody else change the machine meanwhile."""
    with (directory / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace_file(path: Path, data: bytes, *, scratch: Path) -> None:
    """Put a file in place whole, or leave the old one; one that says the same already is left alone.

    Args:
        scratch: where it is written first, on the same file system and where nobody lists the files.
    """
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = scratch / f".new.{os.getpid()}"
    new.write_bytes(data)
    new.replace(path)


def replace_link(path: Path, target: str) -> None:
    """Make the path a symbolic link to the target, or take it away when there is none."""
    if not target:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.symlink_to(target)


def draw(*keys: object) -> float:
    """Return a number above 0 and below 1 that these keys alone decide."""
    digest = hashlib.sha256("/".join(map(str, keys)).encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


def draw_duration_s(median_s: float, sigma: float, *keys: object) -> float:
    """Return a lognormal duration that these keys alone decide."""
    return median_s * math.exp(sigma * statistics.NormalDist().inv_cdf(draw(*keys)))


def draw_uuid(*keys: object) -> str:
    """Return a UUID that these keys alone decide."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "fleetmend-simulation:" + "/".join(map(str, keys))))
