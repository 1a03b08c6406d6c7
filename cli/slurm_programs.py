"""What `fleetmend check` does as a program of slurmd: HealthCheckProgram, Prolog or Epilog.

A failed check drains the node under a reason of ours, within the budget. Nothing else does anything: doubt, a time
limit, or a Slurm that cannot be asked drain nothing and refuse no job.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controller.errors import Permanent, Refused, Retryable
from controller.policy.rules import Budget
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_own_node import OwnNode, Stand

NODE_NAME: Final = "SLURMD_NODENAME"
"""The only variable that slurmd gives a HealthCheckProgram. Source: slurm, src/slurmd/slurmd/slurmd.c,
run_script_health_check; seen in 22.05."""

REFUSE_JOB: Final = 10
"""Exit code of a prolog that refuses the job. Source: our choice; no program on the way ends with it when it breaks:
Python 1 and 2, a shell 126 and 127, timeout 124, 125 and 137, sysexits 64 to 78."""

DRAIN_LIMIT_S: Final = 12.0
"""For all that Slurm is asked. Source: our choice; scontrol gives up after 9 s without a slurmctld (seen in 22.05)."""


class SlurmProgram(StrEnum):
    """Who slurmd thinks it runs."""

    HEALTH_CHECK = "health-check"
    PROLOG = "prolog"
    EPILOG = "epilog"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is printed, empty for nothing, and the exit code.

    A HealthCheckProgram's exit code drains nothing and an Epilog's would drain under a reason that is not ours, so both
    end with 0.
    """

    text: str = ""
    code: int = 0


def own_name(configured: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the name by which Slurm knows this node: slurmd's own word, or else that of the configuration."""
    return environment.get(NODE_NAME) or configured


async def answer(program: SlurmProgram, failure: str, *, node: str, percent: float) -> Answer:
    """Return what this program says and does about a failure; there is none when it is empty.

    Args:
        failure: one sentence, which becomes the reason in Slurm.
        percent: of the nodes of the cluster that fleetmend may hold out in all.
    """
    if not failure:
        return Answer()
    stand = await _take_out(OwnNode(node, SlurmScheduler(), Budget(percent=percent)), failure)
    refuses = program is SlurmProgram.PROLOG and stand.is_out
    return Answer(stand.because, REFUSE_JOB if refuses else 0)


async def _take_out(own: OwnNode, failure: str) -> Stand:
    try:
        async with asyncio.timeout(DRAIN_LIMIT_S):
            return await own.take_out(failure)
    except TimeoutError:
        return Stand(False, f"{own.name} is left in service: Slurm did not answer within {DRAIN_LIMIT_S:g} s")
    except (Retryable, Permanent, Refused) as error:
        return Stand(False, f"{own.name} is left in service: {error}")
