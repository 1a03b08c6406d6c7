"""The Slurm adapter that the settings describe."""

from __future__ import annotations

from collections.abc import Mapping

from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_reader import SlurmReader
from controller.schedulers.slurm_rest import SlurmRest
from controller.schedulers.slurm_text import TextReader
from controller.sections.slurm import SlurmSection

READERS: Mapping[str, SlurmReader | None] = {"auto": None, "json": JsonReader(), "text": TextReader()}
"""What the setting `form` means; `None` leaves it to what Slurm offers."""


def scheduler_of(section: SlurmSection, *, deadline_s: float) -> SlurmScheduler:
    """Return the adapter."""
    programs = SlurmPrograms(deadline_s, reader=READERS[section.form])
    rules = tuple(each.rule() for each in section.jobs)
    if not section.rest_url:
        return SlurmScheduler(programs, rules)
    return SlurmScheduler(
        SlurmRest(section.rest_url, programs, deadline_s, section.rest_token_file, section.rest_ca_file), rules
    )
