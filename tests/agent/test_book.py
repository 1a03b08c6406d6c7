"""The book of what is raised: hysteresis, unknowns beside faults, edges, and what outlives the process."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import book as books
from agent.book import Book, Moment, Turned
from checks.finding import Action, Finding, FindingKey, Verdict
from checks.policy import Policy
from wire.messages import FindingCleared, FindingRaised

CHECK = "gpu.ecc"
BOOT = "boot-1"
ONCE = Policy()


def fault(device: str = "GPU-1", code: str = "dbe", **changes: Any) -> Finding:
    finding = Finding(CHECK, device, code, Verdict.FAILED, Action.RESET_GPU, "3 errors")
    return replace(finding, **changes)


def unknown(device: str = "GPU-1", code: str = "dbe") -> Finding:
    return Finding(CHECK, device, code, Verdict.UNKNOWN, Action.NONE, "cannot be read")


def judge(book: Book, *findings: Finding, at: float = 0.0, policy: Policy = ONCE) -> Turned:
    return books.judge_level(book, CHECK, findings, policy=policy, moment=Moment(at, BOOT))


def verdicts(book: Book) -> dict[tuple[str, str], Verdict]:
    return {(key.device, key.code): entry.finding.verdict for key, entry in book.raised.items()}


def test_a_fault_is_raised_and_cleared_once() -> None:
    raised = judge(Book(), fault(), at=1.0)
    again = judge(raised.book, fault(), at=2.0)
    cleared = judge(again.book, at=3.0)
    assert (FindingRaised(fault(), 1.0),) == raised.edges
    assert again.edges == ()
    assert (FindingCleared(fault().key, "no longer found", 3.0),) == cleared.edges
    assert cleared.book.raised == {}


def test_ok_is_never_raised_and_its_reason_tells_why_a_fault_is_over() -> None:
    fine = fault(verdict=Verdict.OK, because="0 errors")
    assert Turned(Book()) == judge(Book(), fine)
    cleared = judge(judge(Book(), fault()).book, fine, at=5.0)
    assert (FindingCleared(fault().key, "0 errors", 5.0),) == cleared.edges


@pytest.mark.parametrize("needed", [2, 3, 5])
def test_hysteresis_waits_for_consecutive_readings(needed: int) -> None:
    patient = Policy(raise_after=needed, clear_after=needed)
    book = Book()
    for _ in range(needed - 1):
        turned = judge(book, fault(), policy=patient)
        assert turned.edges == ()
        assert books.is_unsettled(turned.book, CHECK)
        book = turned.book
    interrupted = judge(book, policy=patient).book
    assert Book() == interrupted
    book = judge(book, fault(), policy=patient).book
    assert [fault().key] == list(book.raised)
    for _ in range(needed - 1):
        book = judge(book, policy=patient).book
        assert [fault().key] == list(book.raised)
    assert judge(book, policy=patient).book.raised == {}


def test_an_unknown_stands_beside_the_fault_and_both_go_when_it_is_seen_to_be_over() -> None:
    book = judge(Book(), fault()).book
    blind = judge(book, unknown(), at=1.0)
    assert verdicts(blind.book) == {("GPU-1", "dbe"): Verdict.FAILED, ("GPU-1", "dbe?"): Verdict.UNKNOWN}
    assert (FindingRaised(unknown(code="dbe?"), 1.0),) == blind.edges
    assert judge(blind.book, at=2.0).book.raised == {}


def test_an_unknown_is_raised_at_once_but_a_fault_in_its_place_waits_its_turn() -> None:
    patient = Policy(raise_after=2)
    book = judge(Book(), unknown(), policy=patient).book
    assert verdicts(book) == {("GPU-1", "dbe"): Verdict.UNKNOWN}
    first = judge(book, fault(), policy=patient)
    assert (verdicts(first.book), first.edges) == ({("GPU-1", "dbe"): Verdict.UNKNOWN}, ())
    second = judge(first.book, fault(), policy=patient)
    assert verdicts(second.book) == {("GPU-1", "dbe"): Verdict.FAILED}
    assert len(second.edges) == 1


@pytest.mark.parametrize(
    ("hiding", "kept"),
    [
        (unknown("GPU-1", "read"), {"GPU-1"}),
        (unknown("host", "read"), {"GPU-1", "GPU-2"}),
        (unknown("GPU-3", "read"), set[str]()),
        (replace(unknown("0000:3b:00", "read"), pci="0000:3b:00"), {"GPU-1"}),
    ],
)
def test_an_unknown_keeps_what_it_hides(hiding: Finding, kept: set[str]) -> None:
    both = (fault("GPU-1", pci="0000:3b:00"), fault("GPU-2", pci="0000:5d:00"))
    book = judge(judge(Book(), *both).book, hiding).book
    assert kept == {key.device for key, entry in book.raised.items() if entry.finding.verdict is Verdict.FAILED}


def test_an_unknown_breaks_a_run_of_clear_readings() -> None:
    patient = Policy(clear_after=2)
    book = judge(Book(), fault()).book
    for findings in ((), (unknown(),), ()):
        book = judge(book, *findings, policy=patient).book
        assert fault().key in book.raised
    assert fault().key not in judge(book, policy=patient).book.raised


@pytest.mark.parametrize(
    ("changed", "after_s", "edges"),
    [
        ({"because": "4 errors"}, 59.0, 0),
        ({"because": "4 errors"}, 60.0, 1),
        ({"because": "4 errors"}, -1.0, 1),
        ({"because": "3 errors"}, 600.0, 0),
        ({"verdict": Verdict.DEGRADED}, 1.0, 1),
        ({"action": Action.REBOOT}, 1.0, 1),
        ({"evidence": {"raw": "4"}}, 600.0, 0),
    ],
)
def test_only_news_is_told_again(changed: dict[str, Any], after_s: float, edges: int) -> None:
    book = judge(Book(), fault(), at=1_000.0).book
    turned = judge(book, fault(**changed), at=1_000.0 + after_s)
    assert edges == len(turned.edges)
    assert fault(**changed) == turned.book.raised[fault().key].finding
    assert turned.book.raised[fault().key].raised_at == 1_000.0


def test_a_latched_finding_outlives_readings_restarts_and_boots() -> None:
    book = books.latch(Book(), (fault(),), moment=Moment(5.0, BOOT)).book
    book = judge(book, at=6.0).book
    reloaded, _ = books.load(json.loads(json.dumps(books.dump(book))))
    assert book == reloaded
    (entry,) = books.latched(reloaded, CHECK)
    assert (entry.boot_id, entry.raised_at, entry.last_seen, entry.device_reset) == (BOOT, 5.0, 5.0, False)


def test_a_latched_finding_seen_again_forgets_that_its_device_was_reset() -> None:
    book = books.latch(Book(), (fault(),), moment=Moment(5.0, BOOT)).book
    book = books.mark_reset(book, {"GPU-2"})
    assert not book.raised[fault().key].device_reset
    book = books.mark_reset(book, {"GPU-1"})
    assert book.raised[fault().key].device_reset
    again = books.latch(book, (fault(),), moment=Moment(9.0, "boot-2"))
    entry = again.book.raised[fault().key]
    assert (entry.device_reset, entry.boot_id, entry.raised_at, entry.last_seen) == (False, "boot-2", 5.0, 9.0)
    assert again.edges == ()


@pytest.mark.parametrize("heals", [True, False])
def test_what_the_kernel_itself_says_is_over_ends_where_the_check_says_so(heals: bool) -> None:
    book = books.latch(Book(), (fault(),), moment=Moment(5.0, BOOT)).book
    over = (fault(verdict=Verdict.OK, because="it answers again"),)
    turned = books.latch(book, over, moment=Moment(9.0, BOOT), heals=heals)
    edges = (FindingCleared(fault().key, "it answers again", 9.0),) if heals else ()
    assert (edges, not heals) == (turned.edges, fault().key in turned.book.raised)
    assert books.latch(Book(), over, moment=Moment(9.0, BOOT), heals=heals).edges == ()


def test_a_level_finding_is_kept_over_a_restart_until_a_reading_judges_it() -> None:
    book, _ = books.load(books.dump(judge(Book(), fault()).book))
    blind = judge(book, unknown("host", "unobserved")).book
    assert fault().key in blind.raised
    assert judge(blind).book.raised == {}


def test_findings_of_a_check_that_is_gone_are_cleared() -> None:
    book = judge(Book(), fault()).book
    turned = books.retire(book, {"gpu.xid"}, moment=Moment(2.0, BOOT))
    because = "this version of the agent has no check gpu.ecc"
    assert (FindingCleared(fault().key, because, 2.0),) == turned.edges
    assert book == books.retire(book, {CHECK}, moment=Moment(2.0, BOOT)).book


def test_one_entry_that_cannot_be_read_takes_no_other_with_it() -> None:
    """A newer version wrote it, or the disk damaged it; a latched fault beside it must not be forgotten."""
    written = json.loads(json.dumps(books.dump(judge(Book(), fault()).book)))
    newer = json.loads(json.dumps(written["raised"][0]))
    newer["finding"] |= {"device": "other", "action": "swap_tray"}
    book, problems = books.load({"raised": [{"finding": 7}, newer, *written["raised"]]})
    assert [*book.raised] == [fault().key]
    assert [each.partition(":")[0] for each in problems] == ["stored finding 0", "stored finding 1"]
    assert "swap_tray" in problems[1]
    assert books.load({"raised": "all of it"})[0] == Book()


FINDINGS = st.builds(
    Finding,
    st.just(CHECK),
    st.sampled_from(["GPU-1", "GPU-2", "host"]),
    st.sampled_from(["", "a"]),
    st.sampled_from(Verdict),
    st.sampled_from([Action.NONE, Action.REBOOT]),
    st.sampled_from(["x", "y"]),
)
READINGS = st.lists(st.lists(FINDINGS, max_size=4), max_size=12)
PATIENCE = st.builds(Policy, st.integers(1, 3), st.integers(1, 3))


@given(READINGS, PATIENCE)
def test_edges_alone_tell_the_whole_book(readings: list[list[Finding]], policy: Policy) -> None:
    """A controller that applies every edge knows exactly what is raised, with its verdict and action."""
    book, told = Book(), dict[FindingKey, tuple[Verdict, Action]]()
    for at, findings in enumerate(readings):
        turned = judge(book, *findings, at=float(at), policy=policy)
        for edge in turned.edges:
            if isinstance(edge, FindingRaised):
                told[edge.finding.key] = (edge.finding.verdict, edge.finding.action)
            else:
                del told[edge.key]
        book = turned.book
        assert told == {key: (entry.finding.verdict, entry.finding.action) for key, entry in book.raised.items()}
        assert Verdict.OK not in verdicts(book).values()


@given(READINGS, PATIENCE, st.lists(FINDINGS.filter(lambda finding: finding.verdict is Verdict.UNKNOWN), min_size=1))
def test_a_blind_reading_never_clears_nor_changes_a_fault_it_hides(
    readings: list[list[Finding]], policy: Policy, blind: list[Finding]
) -> None:
    book = Book()
    for findings in readings:
        book = judge(book, *findings, policy=policy).book
    after = judge(book, *blind, unknown("host", "unobserved"), policy=policy).book
    faults = {key: entry for key, entry in book.raised.items() if entry.finding.verdict is not Verdict.UNKNOWN}
    kept = {key: entry for key, entry in after.raised.items() if key in faults}
    assert {key: entry.finding for key, entry in faults.items()} == {key: entry.finding for key, entry in kept.items()}
    assert all(
        entry.finding.verdict is Verdict.UNKNOWN for key, entry in after.raised.items() if key not in book.raised
    )


@given(READINGS, PATIENCE)
def test_enough_clear_readings_clear_everything(readings: list[list[Finding]], policy: Policy) -> None:
    book = Book()
    for findings in readings:
        book = judge(book, *findings, policy=policy).book
    for _ in range(policy.clear_after):
        book = judge(book, policy=policy).book
    assert Book() == book


@given(READINGS, PATIENCE)
def test_a_book_is_the_same_after_it_was_written_and_read(readings: list[list[Finding]], policy: Policy) -> None:
    book = Book()
    for findings in readings:
        book = judge(book, *findings, policy=policy).book
    assert (replace(book, seen={}), ()) == books.load(json.loads(json.dumps(books.dump(book))))


def test_a_fault_may_skip_readings_where_its_policy_says_so() -> None:
    """Two of the last three: shown, not shown, shown again counts; with two readings between it does not."""
    skips = Policy(raise_after=2, raise_within=3)
    book = judge(Book(), fault(), policy=skips).book
    book = judge(book, policy=skips).book
    assert books.is_unsettled(book, CHECK)
    assert fault().key in judge(book, fault(), policy=skips).book.raised

    longer = judge(book, policy=skips).book
    assert fault().key not in judge(longer, fault(), policy=skips).book.raised
