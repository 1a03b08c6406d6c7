"""Names in requests about benchmarks, checked: a wrong one is answered with what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from checks.bench_result import OPTIONS, Benchmark
from controller.api.call import Call, known_node
from controller.api.problems import Problem, nearest, unknown
from controller.api.words import plain
from controller.policy.benching.book import BenchRun


def known_benchmark(call: Call) -> str:
    """Return the benchmark that the query narrows to, empty for all.

    Raises:
        Problem: 422, there is no such benchmark.
    """
    name = call.query.get("benchmark", "")
    if name:
        check_benchmarks([name], field="benchmark")
    return name


def check_benchmarks(names: Iterable[str], *, field: str = "benchmarks") -> None:
    """Return if there are benchmarks of all these names.

    Raises:
        Problem: 422, with those that there are.
    """
    for name in names:
        if name not in set(Benchmark):
            near = nearest(name, Benchmark)
            right = f"did you mean {near[0]}?" if near else f"there are {', '.join(Benchmark)}"
            raise Problem(422, f"no benchmark is called {name[:80]!r}", right, field=field)


def known_options(said: Mapping[str, str], benchmarks: Iterable[str]) -> dict[str, str]:
    """Return the options, each of which one of the benchmarks reads.

    Raises:
        Problem: 422, none of them reads one of the options, or its value holds a control character.
    """
    readable = sorted(frozenset().union(*(OPTIONS[Benchmark(name)] for name in benchmarks)))
    for name in said:
        if name not in readable:
            near = nearest(name, readable)
            known = f"there are {', '.join(readable)}" if readable else "there are none"
            right = f"did you mean {near[0]}?" if near else known
            raise Problem(422, f"no option of these benchmarks is called {name[:80]!r}", right, field="options")
    return {name: plain(value, field=f"options.{name}") for name, value in said.items()}


def known_nodes(call: Call, names: Iterable[str]) -> list[str]:
    """Return the names, each once and in their order.

    Raises:
        Problem: 404, there is no node of one of them.
    """
    return [known_node(call.cell, name).name for name in dict.fromkeys(names)]


def known_run(call: Call) -> BenchRun:
    """Return the run that the path names.

    Raises:
        Problem: 404, there is no such run, or it ended so long ago that only the log has it.
    """
    name, runs = call.path["id"], call.cell.belief.bench.runs
    found = runs.get(name)
    if found is None:
        raise unknown("run", name, reversed(runs))
    return found
