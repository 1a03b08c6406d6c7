"""`bench.dcgm`: NVIDIA's own diagnosis, `dcgmi diag`, where it is installed, read by DCGM's severities.

The tests run in DCGM's host engine and not below this process. TERM makes dcgmi stop them, and KILL leaves them
running, so dcgmi is in a group of its own and is asked to end when this process is killed. What does not stop with it
is ended here.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

import psutil

from agent.bench.child import Broken, NotHere, Progress, Say, carry_out
from agent.bench.dcgm_document import Diagnosis, parse_diagnosis
from agent.bench.dcgm_faults import faults_of, outcome_of
from agent.bench.nvidia_files import kind_of
from agent.bench.pace import at_most_every
from agent.bench.programs import Ended, end_with_term, run_program
from agent.bench.wishes import number_option
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchMachine, Benchmark, BenchResult
from wire.bench import BenchWish

DCGMI: Final = "dcgmi"
TESTER: Final = "nvvs"
"""The process in which DCGM's host engine runs the tests. Source: DCGM, nvvs/."""

LEVELS_OF_TIER: Final = {1: 1, 2: 2, 3: 4}
"""The deepest level for each tier. Source: the tiers' budgets, 30 s, 5 min and longer on a cordoned node, beside the
durations that DCGM's documentation and AWS give: seconds, 2 to 10 min, 15 min and more, hours."""

TAKES_S: Final = {1: 10.0, 2: 150.0, 3: 900.0, 4: 5400.0}
"""How long a level usually takes, to say how far it is. Source: as for the tiers."""

DISCOVERY_LIMIT_S: Final = 15.0

CLOCK_STEP_S: Final = 1.0
"""By how much a process may seem older than it is. Source: our choice, above the kernel's ticks of 10 ms."""

GONE_LIMIT_S: Final = 0.3
"""How long to wait for what was killed. Source: our choice, so that all is over before the agent ends the group."""

_ROW = re.compile(r"^\|\s*(\d{1,4})?\s*\|\s*(Name|PCI Bus ID|Device UUID):\s*(\S[^|]*?)\s*\|", re.ASCII | re.MULTILINE)


def run(wish: BenchWish, say: Say, *, monotonic: Callable[[], float] = time.monotonic) -> BenchResult:
    """Run the diagnosis of the option `level`, 1 to 4, by default the deepest that the tier has time for, at most 3.

    Raises:
        NotHere: dcgmi is not installed.
        Broken: the level is too deep for the tier, DCGM could not run it, or it named no test.
    """
    deepest = LEVELS_OF_TIER.get(wish.tier, 1)
    level = int(number_option(wish, "level", min(deepest, 3), least=1, most=4))
    if level > deepest:
        raise Broken(f"option level: {level} takes longer than tier {wish.tier} may, whose deepest level is {deepest}")
    ends_s = monotonic() + wish.limit_s
    gpus = discover(run_program((DCGMI, "discovery", "-l"), limit_s=min(DISCOVERY_LIMIT_S, wish.limit_s)).text)
    ended = _diagnose(level, ends_s - monotonic(), at_most_every(1.0, say, monotonic), monotonic)
    return result_of(_parsed(ended), level, gpus)


def _diagnose(level: int, limit_s: float, say: Say, monotonic: Callable[[], float]) -> Ended:
    began = time.time()

    def tell(ran_s: float) -> None:
        say(Progress(min(0.95, ran_s / TAKES_S[level]), f"level {level} of DCGM's diagnosis"))

    try:
        command = (DCGMI, "diag", "-r", str(level), "-j")
        return run_program(command, limit_s=limit_s, apart=True, meanwhile=tell, monotonic=monotonic)
    except BaseException:
        _end_testers(began)
        raise


def _end_testers(since: float) -> None:
    """End what the host engine started for us and did not end with dcgmi, and wait a moment for it to be gone."""
    ours = [
        process
        for process in psutil.process_iter(["name", "create_time"])
        if process.info["name"] == TESTER and (process.info["create_time"] or 0.0) >= since - CLOCK_STEP_S
    ]
    for process in ours:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(ours, timeout=GONE_LIMIT_S)


def _parsed(ended: Ended) -> Diagnosis:
    """Return the diagnosis; dcgmi ends with a code other than 0 when a test failed, which is no failure of its own."""
    try:
        return parse_diagnosis(ended.text)
    except Broken as failure:
        raise Broken(f"{failure}; it ended with code {ended.code}: {ended.first_words}") from failure


def discover(printed: str) -> Mapping[str, tuple[str, str]]:
    """Return DCGM's number of each GPU → its UUID and model, from what `dcgmi discovery -l` printed."""
    found: dict[str, dict[str, str]] = {}
    number = ""
    for row in _ROW.finditer(printed):
        number = row[1] or number
        found.setdefault(number, {})[row[2]] = row[3]
    return {number: (each.get("Device UUID", ""), each.get("Name", "")) for number, each in found.items() if number}


def result_of(diagnosis: Diagnosis, level: int, gpus: Mapping[str, tuple[str, str]]) -> BenchResult:
    """Return what the diagnosis means.

    Raises:
        NotHere: it skipped every test.
    """
    uuids = {number: uuid for number, (uuid, _) in gpus.items()}
    outcomes = [outcome_of(result) for result in diagnosis.results]
    outcome = worst(outcomes)
    skipped = sorted(
        {each.test for each, of_it in zip(diagnosis.results, outcomes, strict=True) if of_it is Outcome.SKIP}
    )
    if outcome is Outcome.SKIP:
        raise NotHere(f"DCGM skipped every test of level {level}: {', '.join(skipped)}")
    faults = tuple(dict.fromkeys(fault for result in diagnosis.results for fault in faults_of(result, uuids)))
    said = [fault.because for fault in faults if fault.severity is outcome] or [fault.because for fault in faults]
    ran = sum(of_it is not Outcome.SKIP for of_it in outcomes)
    because = said[0] if said else f"{ran} results of DCGM's tests of level {level} came back, and none is a fault."
    machine = BenchMachine(kind_of(model for _, model in gpus.values()), diagnosis.driver, gpus=len(gpus))
    notes = (f"DCGM skipped {', '.join(skipped)}",) if skipped else ()
    version = (f"DCGM {diagnosis.version}",) if diagnosis.version else ()
    return BenchResult(Benchmark.DCGM, outcome, because, (), faults, machine, notes=(*version, *notes))


if __name__ == "__main__":
    end_with_term()
    carry_out(run)
