"""`bench.nccl_all_reduce`: an all-reduce over all GPUs of a node, or of a group of nodes, each way that it is led.

This process holds no CUDA itself. Every way is measured by a process of its own, so that a hang inside NCCL or CUDA
ends with that one, and this one is left to say so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from agent.bench.child import Broken, Line, NotHere, Progress, Say, carry_out
from agent.bench.nccl_reading import together
from agent.bench.nccl_tests import NcclTests, find_nccl_tests
from agent.bench.nccl_ways import WAY, WAYS, Way, environment_of
from agent.bench.passes import result_of
from agent.bench.watch import Watch, watch_of
from agent.bench.wishes import choice_option
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchResult
from wire.bench import BenchWish

OPTION: Final = "ways"
BOTH: Final = "auto,ring"
AUTO_ALONE: Final = "auto"

BACK_END: Final = "back_end"
AUTOMATIC, LIBRARY, NCCL_TESTS = "auto", "libnccl", "nccl-tests"

SHARE_OF_FIRST: Final = 0.6
"""How much of the time the first of several ways may take. Source: our choice: it finds GPUs that sleep."""


class BackEnd(Protocol):
    """Who carries out all-reduces."""

    def measured(self, way: Way, wish: BenchWish, *, say: Say, watch: Watch) -> BenchResult:
        """Return what one way came back with.

        Raises:
            Broken: it cannot be carried out.
        """


class LibNccl:
    """NCCL's library, in a process for each way."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: of this process."""
        self._environment = environment

    def measured(self, way: Way, wish: BenchWish, *, say: Say, watch: Watch) -> BenchResult:
        """Return what one way came back with."""
        ends_at_s = watch.earlier().ends_at_s
        command = (sys.executable, "-m", "agent.bench.nccl_pass", str(os.getpid()), repr(ends_at_s))
        name = next(name for name, known in WAYS.items() if known is way)
        ordered = msgspec.structs.replace(wish, options={**wish.options, WAY: name})
        return result_of(command, ordered, environment_of(way, self._environment), say=say, watch=watch)


def run(
    wish: BenchWish, say: Say, *, watch: Watch | None = None, environment: Mapping[str, str] = os.environ
) -> BenchResult:
    """Measure each way, and read them beside each other.

    Options: `ways`, of `auto`, `ring` and `loopback`, with commas between; `back_end`: `auto`, `libnccl`, `nccl-tests`.

    Raises:
        NotHere: the host has nothing to measure.
        Broken: an option is wrong, or nothing can be measured.
    """
    watch = watch or watch_of(wish.limit_s)
    ways = _ways(wish)
    first = _first(ways[0], wish, say, watch, environment)
    results = {ways[0].name: first.result}
    for number, way in enumerate(ways[1:], start=1):
        if worst([each.outcome for each in results.values()]) is Outcome.ERROR:
            break
        share = watch.within(watch.left_s / (len(ways) - number))
        results[way.name] = _tried(first.back_end, way, wish, _scaled(say, number, len(ways)), share)
    return together(results, shipped_limits())


@dataclass(frozen=True, slots=True)
class _First:
    """What the first way came back with, and who measured it."""

    result: BenchResult
    back_end: BackEnd


def _ways(wish: BenchWish) -> list[Way]:
    """Return the ways to measure: of a group, NCCL's own choice alone, where nothing else is wished."""
    together_ = wish.rank is not None and len(wish.rank.nodes) > 1
    names = wish.options.get(OPTION, AUTO_ALONE if together_ else BOTH).split(",")
    unknown = [name for name in names if name not in WAYS]
    if unknown or len(set(names)) != len(names):
        raise Broken(f"option {OPTION}: some of {', '.join(WAYS)} are wanted, each once, and not {','.join(names)!r}")
    return [WAYS[name] for name in names]


def _first(way: Way, wish: BenchWish, say: Say, watch: Watch, environment: Mapping[str, str]) -> _First:
    """Measure the first way, with nccl-tests where NCCL's library cannot be loaded and the program is there."""
    wanted = choice_option(wish, BACK_END, (AUTOMATIC, LIBRARY, NCCL_TESTS))
    program = find_nccl_tests(environment) if wanted != LIBRARY else None
    library, say = LibNccl(environment), _scaled(say, 0, len(_ways(wish)))
    share = watch.within(SHARE_OF_FIRST * watch.left_s) if len(_ways(wish)) > 1 else watch
    if wanted == NCCL_TESTS and program is None:
        raise Broken("option back_end: nccl-tests has no all_reduce_perf on the agent's path")
    if wanted != NCCL_TESTS:
        result = _tried(library, way, wish, say, share)
        has_library = bool(result.machine.nccl) or not result.machine.gpus
        if has_library or program is None:
            return _First(result, library)
    tests = NcclTests(program or "", environment)
    return _First(_tried(tests, way, wish, say, share), tests)


def _tried(back_end: BackEnd, way: Way, wish: BenchWish, say: Say, watch: Watch) -> BenchResult:
    try:
        return back_end.measured(way, wish, say=say, watch=watch)
    except NotHere as reason:
        return BenchResult(wish.benchmark, Outcome.SKIP, str(reason))
    except Broken as failure:
        return BenchResult(wish.benchmark, Outcome.ERROR, str(failure))


def _scaled(say: Say, number: int, ways: int) -> Say:
    """Return a way of saying lines in which the progress of one way counts as a part of the whole."""

    def scaled(line: Line) -> None:
        say(Progress((number + line.share) / ways, line.text) if isinstance(line, Progress) else line)

    return scaled


if __name__ == "__main__":
    carry_out(run)
