"""Makes the scheduler's adapter that the settings name.

Only the one that is chosen is imported: the client of Kubernetes alone takes 0.2 s and 8 MB.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from controller.adapters import Scheduler
from controller.settings import ControllerSettings


@runtime_checkable
class Closing(Protocol):
    """An adapter that keeps connections."""

    async def close(self) -> None:
        """Let go of them."""
        ...


def scheduler_of(settings: ControllerSettings, state: Path) -> Scheduler:
    """Return the adapter that the settings name.

    Args:
        state: directory for what an adapter has to remember itself.

    Raises:
        SettingsError: the settings name a cluster that cannot be used.
    """
    section = settings.scheduler
    module: Any = import_module(f"controller.schedulers.{section.kind}")
    scheduler: Scheduler
    match section.kind:
        case "kubernetes":
            scheduler = module.scheduler_of(
                settings.kubernetes, deadline_s=section.deadline_s, places=settings.topology.label_table()
            )
        case "slurm":
            reader = module.READERS[section.slurm_form]
            scheduler = module.SlurmScheduler(deadline_s=section.deadline_s, reader=reader)
        case "command":
            scheduler = module.CommandScheduler(section.hook, deadline_s=section.deadline_s)
        case "none":
            scheduler = module.NoScheduler(state / "holds.json")
    return scheduler


async def close(scheduler: Scheduler) -> None:
    """Let go of what an adapter keeps open."""
    if isinstance(scheduler, Closing):
        await scheduler.close()
