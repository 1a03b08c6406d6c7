"""The page of all checks."""

from __future__ import annotations

from collections.abc import Iterator

import agent.settings
from agent.watched import Watched
from checks.bench_catalogue import CATALOGUE
from checks.bench_result import Benchmark
from checks.check import Check, LatchedCheck
from checks.policy import Policy
from checks.registry import CHECKS
from cli.catalogue import Row, catalogue
from controller import playbooks
from controller.policy.playbook import BENCH_CHECKS, Playbook
from scripts.pages.markdown import anchor, code, page, table


def checks_page() -> str:
    """Return the page of all checks, in the registry's order."""
    intro = (
        "A check judges readings and says what it found: a verdict (`ok`, `degraded`, `failed`, `unknown`), the action "
        "that mends it, and one sentence why. Its id is its file: `gpu.xid` is `checks/gpu/xid.py`."
    )
    told = {
        row.id: row
        for row in catalogue(playbooks.load_default(), Watched(CHECKS, ()), agent.settings.Watch(node="n1").timings())
    }
    rows = [(f"[`{check.id}`](#{anchor(check.id)})", check.summary) for check in CHECKS]
    parts = (_check(check, told[check.id]) for check in CHECKS)
    return page("Checks", intro, table(("check", "what it looks for"), rows), *parts, _benchmarks())


def _benchmarks() -> str:
    """Return the section about the checks of benchmarks, which no node makes by itself."""
    intro = (
        "What active benchmarks find, on idle or cordoned nodes alone. The code of a finding is the metric that was too"
        " low, or the fault's name (`wrong_result`, `xid`, DCGM's own). Only a benchmark that failed raises one, and a "
        "later pass of the same one clears it ([how they are judged](../explanation/judging-benchmarks.md))."
    )
    books = playbooks.load_default()
    rows = [
        (
            code(check),
            summary.measures,
            summary.finds,
            ", ".join(code(book.name) for book in books if _answers(book, check)),
        )
        for check, benchmark in BENCH_CHECKS.items()
        for summary in (CATALOGUE[Benchmark(benchmark)],)
    ]
    return "\n\n".join(
        ["## Benchmarks", intro, table(("check", "what it measures", "what it finds", "playbooks"), rows)]
    )


def _answers(book: Playbook, check: str) -> bool:
    return any(line.names(check) for line in book.answers)


def _check(check: Check, row: Row) -> str:
    facts = "\n".join(f"- {fact}" for fact in (*_facts(check), *_row_facts(row)))
    thresholds = table(("threshold", "value and source"), [(code(n), v) for n, v in check.thresholds.items()])
    return "\n\n".join([f"## {check.id}", check.summary, facts, *([thresholds] if check.thresholds else [])])


def _facts(check: Check) -> Iterator[str]:
    if isinstance(check, LatchedCheck):
        yield "Judges kernel-log records as they come; what it raised stays until a later reading shows that it mended."
        if check.lookback > 1:
            yield f"Looks at the last {check.lookback} records together."
        return
    yield f"Judges `{check.reading.__name__}`, which the source `{check.source}` takes."
    yield f"Over the readings of the last {check.window_s:g} s." if check.window_s else "The newest reading alone."
    yield from _policy(check.policy)


def _row_facts(row: Row) -> Iterator[str]:
    beat = f"every {row.interval_s:g} s while all is calm" if row.interval_s else "as it comes"
    yield f"Source `{row.source}`, {beat}; cost {row.cost}, privilege {row.privilege}."
    yield f"Verdicts: {', '.join(map(code, row.verdicts))}. Actions: {', '.join(map(code, row.action)) or 'none'}."
    yield f"Playbooks: {', '.join(map(code, row.playbook)) or 'none'}."


def _policy(policy: Policy) -> Iterator[str]:
    within = f" of the last {policy.raise_within}" if policy.raise_within > policy.raise_after else " in a row"
    shown = f"{_readings(policy.raise_after)}{within if policy.window > 1 else ''}"
    why = f": {policy.because}" if policy.because else ""
    yield f"Raised after {shown}, cleared after {_readings(policy.clear_after)} without the fault{why}."
    if policy.boot_grace_s:
        yield f"`unknown` until the host has been up for {policy.boot_grace_s:g} s."
    if policy.peers is not None:
        share, minimum = policy.peers.share, policy.peers.minimum
        yield f"On more than {share:.0%} of the devices, at least {minimum}, it is one fault of the host."


def _readings(number: int) -> str:
    return "1 reading" if number == 1 else f"{number} readings"
