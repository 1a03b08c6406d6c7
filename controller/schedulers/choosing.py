"""Makes the scheduler's adapter that the settings name.

Only the one that is chosen is imported: the client of Kubernetes alone takes 0.2 s and 8 MB.
"""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from controller.adapters import Scheduler
from controller.engine.orders import OrderDesk
from controller.settings import ControllerSettings, SettingsError


@runtime_checkable
class Closing(Protocol):
    """An adapter that keeps connections."""

    async def close(self) -> None:
        """Let go of them."""
        ...


def scheduler_of(settings: ControllerSettings, state: Path, desk: OrderDesk) -> Scheduler:
    """Return the adapter that the settings name.

    Args:
        state: directory for what an adapter has to remember itself.
        desk: gives orders, for nodes that hold themselves.

    Raises:
        SettingsError: the settings name a cluster that cannot be used.
    """
    section = settings.scheduler
    scheduler: Scheduler
    match section.kind:
        case "node":
            scheduler = _module("node").NodeScheduler(desk, time.time, deadline_s=section.deadline_s)
        case "none":
            scheduler = _module("none").NoScheduler(state / "holds.json")
        case "kubernetes" | "slurm" | "command":
            scheduler = outside_scheduler_of(settings)
    return scheduler


def outside_scheduler_of(settings: ControllerSettings) -> Scheduler:
    """Return the adapter of a scheduler that stands beside fleetmend, which takes nothing of a controller's own.

    Raises:
        SettingsError: the settings name a cluster that cannot be used.
    """
    section = settings.scheduler
    scheduler: Scheduler
    match section.kind:
        case "kubernetes":
            scheduler = _module("kubernetes").scheduler_of(
                settings.kubernetes, deadline_s=section.deadline_s, places=settings.topology.label_table()
            )
        case "slurm":
            scheduler = _module("slurm_configured").scheduler_of(settings.slurm, deadline_s=section.deadline_s)
        case "command":
            scheduler = _module("command").CommandScheduler(section.hook, deadline_s=section.deadline_s)
        case "node" | "none":
            raise SettingsError(f"scheduler.kind: {section.kind!r} stands for no scheduler outside")
    return scheduler


def _module(name: str) -> Any:
    return import_module(f"controller.schedulers.{name}")


async def close(scheduler: Scheduler) -> None:
    """Let go of what an adapter keeps open."""
    if isinstance(scheduler, Closing):
        await scheduler.close()
