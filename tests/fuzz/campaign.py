"""Gives every parser its share of inputs, on all processors, and says what each did with them.

    python -m tests.fuzz.campaign --inputs 1000000

A worker that hangs where no signal reaches it, or dies, is replaced, and the input that it had is told. Each defect is
made short and written below tests/fuzz/found, where test_parsers.py gives it again with every run of the tests.
"""

from __future__ import annotations

import argparse
import json
import logging
import mmap
import multiprocessing
import os
import queue
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog

from benchmarks.report import RESULTS
from tests.fuzz.mutating import Corpus, input_of
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.watching import Defect, defect_of, limited_in_memory, minimised, told

FOUND: Final = Path(__file__).parent / "found"
CHUNK: Final = 500
"""Inputs that a worker is given at a time: of one parser, from one seed."""

SILENT_S: Final = 90.0
"""A worker that says nothing for so long hangs in something that no signal interrupts."""

AREA_BYTES: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a worker is to do. The inputs follow from these alone."""

    target: str
    seed: int
    count: int = CHUNK


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a chunk. `seen`: name of a defect → the shortest input that shows it, and the defect."""

    chunk: Chunk
    took_s: float
    input_bytes: int
    seen: dict[str, tuple[bytes, Defect]]


@dataclass(slots=True)
class Sum:
    """What a parser did so far."""

    inputs: int = 0
    input_bytes: int = 0
    took_s: float = 0.0
    defects: dict[str, tuple[bytes, Defect]] = field(default_factory=dict)


def by_name() -> dict[str, Target]:
    """Return every target."""
    found = {target.name: target for target in TARGETS}
    assert len(found) == len(TARGETS), "two targets have one name"
    return found


def inputs_of(target: Target, seed: int) -> Iterator[bytes]:
    """Yield inputs without end; the first seed's begin with the real texts."""
    corpus, random = Corpus([text for text in target.texts() if text]), Random(f"{target.name} {seed}")
    if seed == 0:
        yield from corpus.texts
    while True:
        yield input_of(corpus, random)


def carried_out(target: Target, chunk: Chunk, area: mmap.mmap | None = None) -> Done:
    """Give a parser the inputs of a chunk. `area`: where the input at hand is noted, for whoever outlives this."""
    seen: dict[str, tuple[bytes, Defect]] = {}
    size = 0
    began = time.monotonic()
    for data in islice(inputs_of(target, chunk.seed), chunk.count):
        size += len(data)
        if area is not None:
            _note(area, data)
        defect = defect_of(target, data)
        if defect is not None and (defect.name not in seen or len(data) < len(seen[defect.name][0])):
            seen[defect.name] = data, defect
    return Done(chunk, time.monotonic() - began, size, seen)


def _note(area: mmap.mmap, data: bytes) -> None:
    kept = data[: AREA_BYTES - 4]
    area[:4] = len(kept).to_bytes(4, "big")
    area[4 : 4 + len(kept)] = kept


def _noted(area: mmap.mmap) -> bytes:
    return area[4 : 4 + int.from_bytes(area[:4], "big")]


def quiet() -> None:
    """Have nothing of what parsers log be written: it would take longer than they do."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _work(todo: Any, done: Any, descriptor: int) -> None:
    """Be a worker: take chunks until there are no more."""
    quiet()
    targets = by_name()
    with mmap.mmap(descriptor, AREA_BYTES) as area:
        while (chunk := todo.get()) is not None:
            with limited_in_memory():
                result = carried_out(targets[chunk.target], chunk, area)
            done.put(result)


@dataclass(slots=True)
class Worker:
    """One process, what it has to do, and what it says."""

    area: mmap.mmap
    process: BaseProcess
    todo: Any
    done: Any
    chunk: Chunk | None = None
    since: float = 0.0

    @classmethod
    def start(cls) -> Worker:
        """Start one; what it notes is in a file without a name, which both have."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - both processes keep it for as long as they live
        file.truncate(AREA_BYTES)
        context = multiprocessing.get_context("fork")
        todo, done = context.SimpleQueue(), context.Queue()
        process = context.Process(target=_work, args=(todo, done, file.fileno()), daemon=True)
        process.start()
        return cls(mmap.mmap(file.fileno(), AREA_BYTES), process, todo, done)

    def give(self, chunk: Chunk) -> None:
        """Have it do a chunk."""
        self.chunk, self.since = chunk, time.monotonic()
        self.todo.put(chunk)

    def taken(self) -> Done | None:
        """Return what came of its chunk, `None` while it is at it."""
        try:
            result: Done = self.done.get(timeout=0.05)
        except queue.Empty:
            return None
        self.chunk = None
        return result

    def lost(self) -> Done | None:
        """Return what is known of a chunk whose worker died or hangs, `None` while it is well."""
        dead, late = not self.process.is_alive(), time.monotonic() - self.since > SILENT_S
        if self.chunk is None or not (dead or late):
            return None
        self.process.kill()
        kind = "Death" if dead else "Silence"
        defect = Defect(self.chunk.target, kind, "the process", f"exit code {self.process.exitcode}")
        return Done(self.chunk, time.monotonic() - self.since, 0, {defect.name: (_noted(self.area), defect)})


def campaign(targets: Sequence[str], inputs: int, *, seed: int, workers: int) -> dict[str, Sum]:
    """Give these targets so many inputs in all, and return what each did."""
    each = -(-inputs // (len(targets) * CHUNK))
    chunks = [Chunk(name, seed + number) for number in range(each) for name in targets]
    sums = {name: Sum() for name in targets}
    crew = [Worker.start() for _ in range(workers)]
    left, at_work = iter(chunks), len(chunks)
    while at_work:
        for place, worker in enumerate(crew):
            if worker.chunk is None and (chunk := next(left, None)) is not None:
                worker.give(chunk)
            result = (worker.taken() or worker.lost()) if worker.chunk is not None else None
            if result is not None:
                at_work -= 1
                _add(sums[result.chunk.target], result)
                if not worker.process.is_alive():
                    crew[place] = Worker.start()
    for worker in crew:
        worker.todo.put(None)
    return sums


def _add(total: Sum, done: Done) -> None:
    total.inputs += done.chunk.count
    total.input_bytes += done.input_bytes
    total.took_s += done.took_s
    for name, (data, defect) in done.seen.items():
        if name not in total.defects:
            print(told(defect), file=sys.stderr, flush=True)
        if name not in total.defects or len(data) < len(total.defects[name][0]):
            total.defects[name] = data, defect


def keep(target: Target, data: bytes, defect: Defect) -> Path:
    """Write the input of a defect down, as short as it can be made."""
    short = data if defect.kind in {"Death", "Silence"} else minimised(target, data, defect)
    file = FOUND / target.name / defect.name.removeprefix(f"{target.name}-")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(short)
    return file


def table(sums: dict[str, Sum], took_s: float) -> dict[str, Any]:
    """Return what is worth keeping of a campaign."""
    total = sum(each.inputs for each in sums.values())
    parsers = {
        name: {
            "inputs": each.inputs,
            "inputs_per_s": round(each.inputs / each.took_s),
            "mean_bytes": round(each.input_bytes / each.inputs),
            "defects": len(each.defects),
        }
        for name, each in sums.items()
    }
    return {"inputs": total, "parsers": len(sums), "took_s": round(took_s, 1), "by_parser": parsers}


def main() -> None:
    """Run a campaign; end with code 1 when anything was found."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--inputs", type=int, default=1_000_000, help="of all parsers together")
    asked.add_argument("--seed", type=int, default=0, help="other inputs for each; CHUNK inputs a number")
    asked.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked.add_argument("targets", nargs="*", help="names, all when none is given")
    given = asked.parse_args()
    targets = by_name()
    began = time.monotonic()
    sums = campaign(given.targets or list(targets), given.inputs, seed=given.seed, workers=given.workers)
    result = table(sums, time.monotonic() - began)
    for name, each in result["by_parser"].items():
        print(f"{name:36} {each['inputs']:8} inputs {each['inputs_per_s']:8} a second {each['mean_bytes']:6} bytes")
    print(f"{result['inputs']} inputs for {result['parsers']} parsers in {result['took_s']} s")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fuzz.json").write_text(json.dumps(result, indent=2) + "\n")
    quiet()
    found = [(name, *shown) for name, each in sums.items() for shown in each.defects.values()]
    for name, data, defect in found:
        print(f"{told(defect)}\n  {keep(targets[name], data, defect)}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
