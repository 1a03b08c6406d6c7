"""Any other scheduler, by a program of the operator's own: the hook.

fleetmend runs it as

    HOOK cordon NODE      let no new work onto the node; running jobs go on
    HOOK drain NODE       take one step towards an empty node; called again every second until no job is left
    HOOK uncordon NODE    give the node back, if and only if this incident's hold is on it
    HOOK observe          say how the scheduler sees every node; called every few seconds

with these variables in its environment (all but `observe`):

    FLEETMEND_INCIDENT    the incident, e.g. inc-000007: the name under which the node is held
    FLEETMEND_REASON      one sentence for people: why
    FLEETMEND_KEY         the same for every repetition of one effect: what was done under it need not be done again
    FLEETMEND_TOKEN       the controller's term, which only grows: refuse (77) a lower one than seen before
    FLEETMEND_JOBS        drain only: `wait` leaves the jobs, `requeue` puts them back in the queue, `cancel` ends them

It answers by its exit code:

    0     it is so now, whether or not it was before
    75    not now, try again (EX_TEMPFAIL); so does a hook that is not done by the deadline, which is killed
    77    refused (EX_NOPERM): somebody else holds the node, and their hold is left as it is
    else  it will not work, however often it is tried

The last line of its standard error says why, when the exit code is not 0. Its standard output holds

    cordon, uncordon      a sentence for the timeline, or nothing
    drain                 {"jobs": ["17", "18"]}: what is still on the node
    observe               {"nodes": {"n1": {"schedulable": true}, "n2": {"schedulable": false, "held_by": "inc-000007",
                          "foreign_reason": "", "jobs": ["17"], "responding": true}}}: only `schedulable` is required;
                          without `responding` the hook cannot say whether the node lives

It must look first and then act, so that repeating it does no harm; must not hold a node that somebody else holds; and
must leave nothing behind that keeps its output open. Source of 75 and 77: sysexits.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.commands import Ended, Limits, run
from wire.topics import NAME

T = TypeVar("T")

EX_TEMPFAIL = 75
EX_NOPERM = 77
RETRY_AFTER_S = 5.0
MAX_OUTPUT_BYTES = 67_108_864
"""100,000 nodes with a few jobs each take about 15 MB."""

MAX_SENTENCE_CHARACTERS = 300


class HookJobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `drain` prints."""

    jobs: tuple[str, ...]


class HookNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node of what `observe` prints."""

    schedulable: bool
    held_by: str = ""
    foreign_reason: str = ""
    jobs: tuple[str, ...] = ()
    responding: bool | None = None


class HookNodes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `observe` prints."""

    nodes: dict[str, msgspec.Raw]


@dataclass(slots=True)
class CommandScheduler:
    """A scheduler behind the operator's hook.

    Attributes:
        deadline_s: limit for one call.
    """

    hook: Path
    deadline_s: float = 15.0
    name: str = "command"

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node the hook names."""
        ended = await self._run({}, "observe")
        nodes = _decoded(ended, ended.output, HookNodes).nodes
        return {name: _schedule(ended, name, raw) for name, raw in nodes.items()}

    async def cordon(self, node: str, hold: Hold) -> str:
        """Have the hook hold the node; return its sentence.

        Raises:
            Refused: somebody else holds it.
        """
        ended = await self._run(_environment(hold), "cordon", _checked(node))
        return _sentence(ended) or f"{node} is held for {hold.incident_id}, says {self.hook.name}."

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Have the hook take one step towards an empty node; return the jobs that it says are left."""
        ended = await self._run(_environment(hold) | {"FLEETMEND_JOBS": jobs}, "drain", _checked(node))
        return _decoded(ended, ended.output, HookJobs).jobs

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Have the hook give the node back; return its sentence.

        Raises:
            Refused: the hold on it is not this incident's.
        """
        ended = await self._run(_environment(hold), "uncordon", _checked(node))
        return _sentence(ended) or f"{node} is given back, says {self.hook.name}."

    async def _run(self, environment: Mapping[str, str], *arguments: str) -> Ended:
        limits = Limits(self.deadline_s, MAX_OUTPUT_BYTES, RETRY_AFTER_S)
        ended = await run((str(self.hook), *arguments), limits, environment)
        because = f"{self.hook.name} {' '.join(arguments)}: {ended.last_words}"[:MAX_SENTENCE_CHARACTERS]
        if ended.code == EX_TEMPFAIL:
            raise Retryable(because, after_s=RETRY_AFTER_S)
        if ended.code == EX_NOPERM:
            raise Refused(because)
        if ended.code != 0:
            raise Permanent(f"{because} ({_how(ended.code)})")
        return ended


def _schedule(ended: Ended, name: str, raw: msgspec.Raw) -> NodeSchedule:
    if not NAME.fullmatch(name):
        raise Permanent(f"{ended.command}: {name!r} is not a node's name: letters, digits and ._- are")
    node = _decoded(ended, raw, HookNode, at=f"nodes.{name}: ")
    return NodeSchedule(node.schedulable, node.held_by, node.foreign_reason, node.jobs, node.responding)


def _decoded(ended: Ended, content: bytes | msgspec.Raw, kind: type[T], *, at: str = "") -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"{ended.command}: standard output: {at}{error}") from error


def _checked(node: str) -> str:
    if not NAME.fullmatch(node):
        raise Permanent(f"{node!r} is not a node's name: letters, digits and ._- are")
    return node


def _environment(hold: Hold) -> dict[str, str]:
    """Return what the hook is told; a NUL cannot stand in an environment."""
    return {
        "FLEETMEND_INCIDENT": hold.incident_id,
        "FLEETMEND_REASON": hold.reason.replace("\0", " ").encode(errors="replace").decode(),
        "FLEETMEND_KEY": hold.key,
        "FLEETMEND_TOKEN": str(hold.fencing_token),
    }


def _sentence(ended: Ended) -> str:
    return " ".join(ended.output.decode(errors="replace").split())[:MAX_SENTENCE_CHARACTERS]


def _how(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
