"""What the exit code of `fleetmend` means. Source of the numbers above 63: BSD sysexits.h."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Every code the command ends with."""

    DONE = 0
    NO = 1
    USAGE = 2
    UNREAD = 3
    BAD_DATA = 65
    NO_INPUT = 66
    UNREACHABLE = 69
    INTERNAL = 70
    NO_OUTPUT = 74
    REFUSED_NOW = 75
    FORBIDDEN = 77
    CONFIG = 78
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.NO: "the answer is no: no such node or incident, not healthy (--check), not returned (drill --wait), "
    "another inventory than approved, not approved, a benchmark failed (bench run), something is missing (doctor), "
    "a file is there already and different, a service does not start (setup), or log and policy part, or a candidate "
    "crosses a limit (replay)",
    ExitCode.USAGE: "the command line is wrong, or something is unsafe (doctor)",
    ExitCode.UNREAD: "a part of this host could not be looked at (inventory), or a benchmark broke off and says "
    "nothing of the hardware (bench run)",
    ExitCode.BAD_DATA: "a file can be read and is no recording, inventory, backup or exported log",
    ExitCode.NO_INPUT: "a file cannot be read",
    ExitCode.UNREACHABLE: "no controller answers, the event log cannot be opened (controller), "
    "or no broker answers (setup)",
    ExitCode.INTERNAL: "fleetmend itself failed",
    ExitCode.NO_OUTPUT: "a file cannot be written",
    ExitCode.REFUSED_NOW: "refused now, may work later: budget used up, node offline, nothing to approve, "
    "this controller stands by, one is running (controller restore), or a node was not measured (bench run)",
    ExitCode.FORBIDDEN: "the controller does not know who asks, or they may not, or not by that name or from there, "
    "or the broker does not let them in (setup)",
    ExitCode.CONFIG: "a setting or a playbook is wrong",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


def epilog() -> str:
    """Return the list of exit codes as `fleetmend --help` shows it."""
    lines = [f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\b\nExit codes:\n" + "\n".join(lines)
