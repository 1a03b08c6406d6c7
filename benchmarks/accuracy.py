"""Whether every case is judged as its file expects, and where we part from what other tools publish about Xids.

The first table counts verdicts and actions over all case files, expected against given. The second holds a line for
each Xid of which another tool says that it takes a node out of service and we do not, or the other way round, with the
reason: NVIDIA's own catalogue, as a rule. Exit code 1 when a case is judged otherwise than it expects.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.report import Row, publish
from checks.check import LatchedCheck
from checks.data import xid_catalogue
from checks.errors import CannotJudge
from checks.evaluator import judge
from checks.finding import Action, Finding, Verdict
from checks.gpu import xid
from checks.judge import LatchedJudge, judge_lines
from checks.readings import KernelRecord
from checks.registry import CHECKS
from tests.support.check_cases import Case, all_cases

PEERS: Final = Path(__file__).parent / "peers.toml"
OUT: Final = "out"
WHOLE_GPU: Final = frozenset({Action.RESET_GPU, Action.REBOOT, Action.POWER_CYCLE, Action.CONTACT_SUPPORT})


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"inside": "in"}):
    """What one tool says. `others`: what it says of a code in neither list, empty for nothing."""

    source: str
    out: frozenset[int]
    inside: frozenset[int]
    others: str = ""

    def says_out(self, code: int) -> bool | None:
        """Return whether the code takes a node out of service, `None` when the tool does not say."""
        if code in self.out:
            return True
        if code in self.inside:
            return False
        return self.others == OUT if self.others else None


@dataclass(slots=True)
class Score:
    """How many findings were expected, and how many of these came with the same verdict and the same action."""

    cases: int = 0
    expected: int = 0
    same_verdict: int = 0
    same_action: int = 0
    wrong: list[str] = field(default_factory=list)


def peers() -> dict[str, Peer]:
    """Return every tool by its name."""
    return msgspec.convert(tomllib.loads(PEERS.read_text()), type=dict[str, Peer])


def score() -> Score:
    """Return how the cases are judged."""
    by_id, total = {check.id: check for check in CHECKS}, Score()
    for case in all_cases():
        total.cases += 1
        expected, given = _expected(case), _given(case, isinstance(by_id[case.check], LatchedCheck))
        total.expected += len(expected)
        for key, (verdict, action) in expected.items():
            total.same_verdict += given.get(key, ("", ""))[0] == verdict
            total.same_action += given.get(key, ("", ""))[1] == action
        if expected != given:
            total.wrong.append(f"{case.name}: expected {expected}, given {given}")
    return total


Said = dict[tuple[object, ...], tuple[str, str]]


def _expected(case: Case) -> Said:
    if isinstance(case.expected, dict):
        return {("", "", ""): ("cannot judge", case.expected["cannot_judge"])}
    return {(each.get("line", 0), each["device"], each["code"]): _pair(each) for each in case.expected}


def _pair(said: dict[str, Any]) -> tuple[str, str]:
    return said["verdict"], said["action"]


def _given(case: Case, is_latched: bool) -> Said:
    if is_latched:
        judged = judge_lines(case.lines, case.header.accept_userspace)
        return {(each.line, each.device, each.code): (each.verdict, each.action) for each in judged}
    (check,) = [check for check in CHECKS if check.id == case.check]
    assert not isinstance(check, LatchedCheck)
    try:
        findings = judge(check, case.readings)
    except CannotJudge as error:
        return {("", "", ""): ("cannot judge", str(error))}
    return {(0, each.device, each.code): (each.verdict.value, each.action.value) for each in findings}


def finding_of(code: int) -> Finding:
    """Return what we say of a plain line with this code."""
    record = KernelRecord(0.0, f"NVRM: Xid (PCI:0000:3b:00): {code}, pid=1, name=x, text")
    (found,) = [each for each in LatchedJudge().feed(record) if each.check == xid.ID]
    return found


def is_out(found: Finding) -> bool:
    """Return whether we take the node out of service for it."""
    return found.verdict is Verdict.FAILED


def disagreements() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield code and name, the tools against us, what they say, what we say, and why."""
    for code, entry in sorted(xid_catalogue().items()):
        ours = finding_of(code)
        against = sorted(name for name, peer in peers().items() if peer.says_out(code) not in (None, is_out(ours)))
        if against and entry.severity != "unknown":
            theirs = "in service" if is_out(ours) else "out of service"
            said = f"{ours.verdict}, {ours.action}"
            yield f"{code} {entry.name}", ", ".join(against), theirs, said, why(code, ours)


def why(code: int, ours: Finding) -> str:
    """Return the reason for what we say."""
    entry = xid_catalogue()[code]
    if code in xid.OVERRIDES:
        return xid.OVERRIDES[code].reason
    if entry.kind == "app":
        return "NVIDIA: the job's own fault as a rule; a GPU is not taken from others for it"
    asked = entry.action.replace("_", " ")
    if ours.verdict is Verdict.FAILED:
        return f"NVIDIA asks for: {asked}; until then the GPU cannot be used"
    if ours.action in WHOLE_GPU:
        return f"NVIDIA asks for: {asked}; the GPU serves on until that can be done"
    return f"NVIDIA asks for: {asked}; the GPU goes on working"


def main() -> None:
    """Judge, print and write."""
    total = score()
    publish(
        "accuracy",
        [
            Row("cases", total.cases, ""),
            Row("findings expected", total.expected, ""),
            Row("given with the expected verdict", total.same_verdict, "", f"= {total.expected}"),
            Row("given with the expected action", total.same_action, "", f"= {total.expected}"),
            Row("cases that are judged otherwise", len(total.wrong), "", "= 0"),
        ],
        about="every case file",
    )
    table = Table("Xid", "tools", "they keep it", "we say", "because", title="Where we part from others")
    for row in disagreements():
        table.add_row(*row)
    Console(width=160).print(table)
    for line in total.wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if total.wrong else 0)


if __name__ == "__main__":
    main()
