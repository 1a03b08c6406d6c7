"""`disk_room`: whether there is room for what must not be lost: the event log, the outbox, the broker's queues."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import ALL, Check, Diagnosis, Role, advice, fine, missing
from cli.doctor.patient import Patient

GIB = 1 << 30
LITTLE = GIB
"""Source: our choice. An agent keeps evidence of 256 MiB, and a controller's log of a busy day takes as much."""

TIGHT = 0.10
BROKER_STATE = "/var/lib/fleetmend-broker"


@dataclass(frozen=True, slots=True)
class Room:
    """The disk of one folder, in bytes."""

    folder: str
    free_bytes: int
    total_bytes: int


def read(patient: Patient) -> list[Room]:
    """Return how much room each folder has; for one that is not there yet, where it will be.

    Raises:
        OSError: a disk does not say.
    """
    folders = [patient.state(role) for role in patient.daemons]
    if Role.BROKER in patient.roles:
        folders.append(patient.place.at(BROKER_STATE))
    found = []
    for folder in folders:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        usage = shutil.disk_usage(there)
        found.append(Room(str(folder), usage.free, usage.total))
    return found


def judge(facts: list[Room]) -> Iterator[Diagnosis]:
    """Say where room ends."""
    for room in facts:
        free = f"{room.free_bytes / GIB:.1f} GiB of {room.total_bytes / GIB:.0f} GiB are free"
        if room.free_bytes < LITTLE:
            yield missing(f"{free} for {room.folder}: findings will be lost when it is full.", f"df -h {room.folder}")
        elif room.free_bytes < TIGHT * room.total_bytes:
            yield advice(f"{free} for {room.folder}.", f"df -h {room.folder}")
        else:
            yield fine(f"{free} for {room.folder}.")


CHECK = Check("disk_room", "Room for what must not be lost.", ALL, read, judge)
