"""What Slurm's own words for a failure mean, whichever way it was asked: one table for its programs and slurmrestd."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from controller.errors import Permanent, Retryable

T = TypeVar("T")

RETRY_AFTER_S = 2.0

PASSING = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "connect failure",
    "Communication connection failure",
    "Communication shutdown failure",
    "backup controller in standby mode",
    "Resource temporarily unavailable",
    "temporarily unable",
    "Munge encode failed",
    "If munged is up",
)
"""Errors that pass: slurmctld or munged restarts, or is too busy. Source: slurm_errno.c."""

NOT_ALLOWED = ("Access/permission denied", "Invalid user id", "Permission denied")
"""Slurm's answers for one who may not: for a job, for a node, for a reboot. Source: seen in 22.05 and 24.11."""

TO_BE_ALLOWED = (
    "the user that fleetmend runs as must be root, SlurmUser, or an administrator: "
    "sacctmgr modify user fleetmend set adminlevel=admin"
)
"""An operator may move jobs, and change no node. Source: proc_req.c, where updates and reboots of nodes ask for a super
user, which is root, SlurmUser or an Administrator."""

CLOSED_UNANSWERED = "Zero Bytes were transmitted"
"""slurmctld hung up without a word: it ended just then, or could not read who asks. Source: seen in 22.05, with a munge
key that is not the cluster's."""

KEY_HINT = "if that goes on, this host's munge key is not slurmctld's: compare by `munge -n | ssh SLURMCTLD unmunge`"


class HalfWritten(ValueError):
    """What Slurm printed ends in the middle."""


def failure(sentence: str, words: str) -> Retryable | Permanent:
    """Return what a failure means; one that is not known to pass does not.

    Args:
        sentence: what was asked, and what was answered.
        words: all that Slurm said about it.
    """
    if CLOSED_UNANSWERED in words:
        return Retryable(f"{sentence}; {KEY_HINT}", after_s=RETRY_AFTER_S)
    if any(text in words for text in PASSING):
        return Retryable(sentence, after_s=RETRY_AFTER_S)
    if any(text in words for text in NOT_ALLOWED):
        return Permanent(f"{sentence}: {TO_BE_ALLOWED}")
    return Permanent(sentence)


def understood(read: Callable[[], T]) -> T:
    """Return what was read.

    Raises:
        Retryable: the answer was cut off.
        Permanent: it is not what was asked for.
    """
    try:
        return read()
    except HalfWritten as error:
        raise Retryable(f"Slurm: {error}", after_s=RETRY_AFTER_S) from error
    except ValueError as error:
        raise Permanent(f"Slurm: {error}") from error
