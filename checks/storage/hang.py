"""`storage.hang`: file systems that do not answer, or answer only with an error.

A disk that does not answer is this host's fault and mostly over after a reboot. A file server that does not answer is
the server's: its mounts are one finding, under the name of the server, and the host is only kept from new jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from checks.check import LevelCheck, Outcome
from checks.filesystems import is_disk, is_network, must_answer, server_of
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import FilesystemReading, MountsReading

ID = "storage.hang"

FAULTS = {
    "timeout": "timeout",
    "stuck": "stuck",
    "Stale file handle": "stale",
    "Transport endpoint is not connected": "disconnected",
    "Cannot send after transport endpoint shutdown": "disconnected",
    "Host is down": "disconnected",
    "Input/output error": "error",
    "No such device": "error",
    "No such device or address": "error",
    "Remote I/O error": "error",
    "Structure needs cleaning": "error",
}
"""What a file system says → code. Anything else (`Permission denied`, a mount that has just gone) says nothing about
its health. Source: errno(3) in glibc's words, which `stat` prints in the C locale."""

MEANINGS = {
    "timeout": "does not answer",
    "stuck": "does not answer, and a process that asked it cannot be ended",
    "stale": "is no longer known to its server (stale file handle): it has to be mounted again",
    "disconnected": "has lost its connection, or its client program has ended: it has to be mounted again",
    "error": "answers with an error",
}


def judge(readings: Sequence[MountsReading]) -> tuple[Finding, ...]:
    """Return every disk and every server that does not answer as it should, and mounts that could not be asked."""
    asked = [each for each in readings[-1].filesystems if must_answer(each) and each.unreadable]
    failed = sorted((each for each in asked if each.unreadable in FAULTS), key=_kind)
    return (
        *(_failed(list(alike), readings[-1].filesystems) for _, alike in groupby(failed, key=_cause)),
        *(_unreadable(each) for each in asked if each.unreadable not in FAULTS),
    )


def _kind(filesystem: FilesystemReading) -> tuple[str, str, int]:
    """Sort together what is one finding, the shortest mount point first: mounts of one server, or of one disk."""
    return (*_cause(filesystem), len(filesystem.mount))


def _cause(filesystem: FilesystemReading) -> tuple[str, str]:
    code = FAULTS[filesystem.unreadable]
    if is_network(filesystem):
        return server_of(filesystem), code
    return filesystem.device if is_disk(filesystem) else filesystem.mount, code


def _failed(alike: Sequence[FilesystemReading], among: Iterable[FilesystemReading]) -> Finding:
    first, mounts = alike[0], ", ".join(each.mount for each in alike)
    code, detail = FAULTS[first.unreadable], next((each.detail for each in alike if each.detail), "")
    evidence = {"mounts": mounts, "kind": first.kind, "error": first.unreadable, "detail": detail}
    if is_network(first):
        served = sum(is_network(each) and server_of(each) == server_of(first) for each in among)
        because = (
            f"{mounts} from {server_of(first)} ({first.kind}) {MEANINGS[code]}, {len(alike)} of {served} mounts from "
            "there: look at the server and the way to it"
        )
        action = Action.NONE
    else:
        because = f"{mounts} ({first.device}, {first.kind}) {MEANINGS[code]}: drain and reboot the host"
        action = Action.REBOOT
    told = {name: text for name, text in evidence.items() if text}
    because = f"{because}; {detail}" if detail else because
    device = server_of(first) if is_network(first) else first.mount
    return Finding(ID, device, code, Verdict.FAILED, action, because, evidence=told)


def _unreadable(filesystem: FilesystemReading) -> Finding:
    because = f"{filesystem.mount} could not be asked: {filesystem.unreadable}"
    evidence = {"device": filesystem.device, "kind": filesystem.kind, "error": filesystem.unreadable}
    return Finding(ID, filesystem.mount, "unreadable", Verdict.UNKNOWN, Action.NONE, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="File systems that do not answer, or answer only with an error.",
    reading=MountsReading,
    judge=judge,
    outcomes=(
        *(Outcome(code, Verdict.FAILED, Action.NONE) for code in MEANINGS),
        *(Outcome(code, Verdict.FAILED, Action.REBOOT) for code in MEANINGS if code not in ("stale", "disconnected")),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        raise_within=3,
        clear_after=2,
        because="a server that fails over is silent for a moment, and one in trouble answers now and then",
    ),
    thresholds={
        "answers": "within half the source's deadline, 5 s by default (our choice)",
        "error": "the words of ESTALE, ENOTCONN, ESHUTDOWN, EHOSTDOWN, EIO, ENODEV, ENXIO, EREMOTEIO, EUCLEAN",
    },
)
