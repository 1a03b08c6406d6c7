"""`gpu_services`: whether what GPUs need beside their driver runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.sources.services import SOURCE, ServicesSource
from cli.doctor.diagnosis import AGENT, Check, Diagnosis, advice, fine, missing
from cli.doctor.gpu_driver import read as read_driver
from cli.doctor.one_reading import one_reading
from cli.doctor.patient import Patient

PERSISTENCE = "nvidia-persistenced"
FABRIC_MANAGER = "nvidia-fabricmanager"


@dataclass(frozen=True, slots=True)
class Services:
    """What runs beside the driver.

    Attributes:
        active: units that run.
        needs_fabric_manager: whether the GPUs hang on NVSwitches.
        driver_version: of the module; `fabric_manager_version` has to be the same.
    """

    gpus: int
    active: frozenset[str]
    needs_fabric_manager: bool
    driver_version: str
    fabric_manager_version: str


def read(patient: Patient) -> Services:
    """Return which of them run.

    Raises:
        CannotLook: systemd does not answer.
    """
    reading = one_reading(lambda at: ServicesSource(at, SOURCE.timing), patient.place.root)
    active = (unit.name.removesuffix(".service") for unit in reading.units if unit.active == "active")
    return Services(
        gpus=read_driver(patient).on_bus,
        active=frozenset(active),
        needs_fabric_manager=bool(reading.nvlink_fabric),
        driver_version=reading.driver_version,
        fabric_manager_version=reading.fabric_manager_version,
    )


def judge(services: Services) -> Iterator[Diagnosis]:
    """Say what does not run and should."""
    if not services.gpus:
        return
    wrong = [*_persistence(services), *_fabric(services)]
    yield from wrong or [fine("What the GPUs need beside their driver runs.")]


def _persistence(services: Services) -> Iterator[Diagnosis]:
    if PERSISTENCE not in services.active:
        yield advice(
            f"{PERSISTENCE} does not run: the driver lets go of GPUs that nobody uses, and forgets what was set.",
            f"systemctl enable --now {PERSISTENCE}",
        )


def _fabric(services: Services) -> Iterator[Diagnosis]:
    if services.needs_fabric_manager and FABRIC_MANAGER not in services.active:
        yield missing(
            f"The GPUs hang on NVSwitches, and {FABRIC_MANAGER} does not run: no job can use them.",
            f"systemctl enable --now {FABRIC_MANAGER}",
        )
    driver, manager = services.driver_version, services.fabric_manager_version
    if services.needs_fabric_manager and driver and manager and driver != manager:
        yield missing(
            f"{FABRIC_MANAGER} {manager} is not of the driver's version {driver}, and will not start.",
            f"Install {FABRIC_MANAGER} {driver}.",
        )


CHECK = Check("gpu_services", "What GPUs need beside their driver.", AGENT, read, judge, needs_live=True)
