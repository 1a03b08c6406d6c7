"""The Slurm adapter that the settings describe."""

from __future__ import annotations

from collections.abc import Mapping

from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_reader import SlurmReader
from controller.schedulers.slurm_rest import SlurmRest
from controller.schedulers.slurm_text import TextReader
from controller.sections.schedulers import SchedulerSection

READERS: Mapping[str, SlurmReader | None] = {"auto": None, "json": JsonReader(), "text": TextReader()}
"""What the setting `slurm_form` means; `None` leaves it to what Slurm offers."""


def scheduler_of(section: SchedulerSection) -> SlurmScheduler:
    """Return the adapter."""
    slurm, deadline_s = section.slurm, section.deadline_s
    programs = SlurmPrograms(deadline_s, reader=READERS[section.slurm_form])
    rules = tuple(each.rule() for each in slurm.jobs)
    if not slurm.rest_url:
        return SlurmScheduler(programs, rules)
    return SlurmScheduler(
        SlurmRest(slurm.rest_url, programs, deadline_s, slurm.rest_token_file, slurm.rest_ca_file), rules
    )
