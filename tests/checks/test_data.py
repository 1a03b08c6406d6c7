"""The vendor's tables are whole, and every word in them is one that the checks know."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from checks import data
from checks.data import Nvlink5Row, ascend_faults, ascend_frequency, nvlink5_rows, sxid_catalogue, xid_catalogue
from checks.fabric import sxid
from checks.finding import Action, Verdict
from checks.gpu import xid
from checks.judge import LatchedJudge
from checks.npu import faults
from checks.nvlink5 import LinkEvent, judge, parse
from checks.readings import KernelRecord

ROWS = nvlink5_rows()

BEYOND = {
    "xid": ("mnemonic", "immediate", "investigate", "applies_to", "recovery_action_since", "causes", "source"),
    "sxid": ("driver_severity",),
    "nvlink5": ("origin",),
}
COUNTS = {
    ("xid", "mnemonic"): 178,
    ("xid", "immediate"): 161,
    ("xid", "investigate"): 100,
    ("xid", "applies_to"): 105,
    ("xid", "recovery_action_since"): 26,
    ("xid", "causes"): 109,
    ("xid", "source"): 178,
    ("sxid", "driver_severity"): 231,
    ("nvlink5", "origin"): 94,
}


def test_sizes() -> None:
    assert (len(xid_catalogue()), len(sxid_catalogue()), len(ROWS)) == (178, 399, 94)


def test_every_level_of_the_ascend_table_is_known_and_no_code_stands_twice() -> None:
    assert set(ascend_faults().values()) <= faults.LEVELS.keys()
    assert {rule.level for rule in ascend_frequency()} <= faults.LEVELS.keys()
    assert all(len(code) == 8 and code == code.upper() for code in ascend_faults())
    assert len(ascend_faults()) == 350
    assert {rule.window_s for rule in ascend_frequency()} == {faults.WINDOW_S}


def test_the_files_hold_all_that_the_tables_tell() -> None:
    """So many rows have what is not judged by; a row more or less is a table that was copied by halves."""
    rows = {name: json.loads(files(data).joinpath(f"{name}.json").read_bytes()) for name in ("xid", "sxid", "nvlink5")}
    counts = {(name, key): sum(key in row for row in table) for name, table in rows.items() for key in BEYOND[name]}
    assert counts == COUNTS


def test_the_driver_says_itself_what_these_codes_need() -> None:
    """Source: NVIDIA, the branches from which Xid 154 comes with another code; 119 is none of them."""
    since = {code: entry.recovery_action_since for code, entry in xid_catalogue().items()}
    r565 = {48, 62, 63, 64, 74, 79, 94, 95, 110, 120, 136, *range(144, 151), 155, 156}
    assert r565 == {code for code, branch in since.items() if branch == "R565"}
    assert (since[109], since[143], since[119]) == ("R570", "R575", "")


def test_every_word_of_the_xid_catalogue_is_known() -> None:
    actions = {entry.action for entry in xid_catalogue().values()}
    assert {"unspecified", "follow_recovery_action"} == actions - xid.ACTION_OF_CATALOGUE.keys()
    assert {entry.severity for entry in xid_catalogue().values()} <= xid.VERDICT_OF_SEVERITY.keys()


def test_every_word_of_the_sxid_catalogue_is_known() -> None:
    assert {"log", "none"} == {entry.action for entry in sxid_catalogue().values()} - sxid.ACTION_OF_CATALOGUE.keys()
    groups = {entry.group for entry in sxid_catalogue().values()}
    assert {"always_fatal", "potentially_fatal", "non_fatal", "unlisted"} == groups


@pytest.mark.parametrize("code", sorted(xid_catalogue()))
def test_every_xid_is_judged_as_its_severity_says(code: int) -> None:
    (found,) = LatchedJudge((xid.CHECK,)).feed(KernelRecord(0.0, f"NVRM: Xid (PCI:0000:3b:00): {code}, pid=1, text"))
    entry = xid_catalogue()[code]
    is_well = entry.kind == "app" or (entry.severity == "info" and code not in xid.OVERRIDES)
    assert is_well == (found.verdict is Verdict.OK)
    assert (entry.severity in ("critical", "fatal") and code != 156) == (found.verdict is Verdict.FAILED)


def words(row: Nvlink5Row, *, version: int, promoted: bool = False) -> str:
    """Return the register words that the row was made for."""
    value, bit = (row.v1_value, row.promoted_by_v1_bit) if version == 1 else (row.v2_value, row.promoted_by_v2_bit)
    intr_info = value | (1 << bit if promoted and bit is not None else 0)
    return f"(0x{intr_info:08x} 0x{row.error_status:08x} 0x00000000 0x00000000 0x00000000 0x00000000)"


def wanted(row: Nvlink5Row) -> tuple[Verdict, Action]:
    """Return what a row means, said by its own words alone."""
    if "fatal" in row.severity.split("_") and row.severity != "non_fatal":
        return Verdict.FAILED, Action.RESET_GPU if row.action == "reset_gpu" else Action.CONTACT_SUPPORT
    if row.action == "xid_154_eval":
        return Verdict.DEGRADED, Action.RESTART_APP
    return (Verdict.OK if row.investigate == "ignore" else Verdict.DEGRADED), Action.NONE


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row.xid}-{row.units[-1]}-{row.v1_value:x}-{row.error_status:x}"
)
def test_every_row_is_found_in_both_generations(row: Nvlink5Row, version: int) -> None:
    event = parse(row.xid, f"{row.units[0]} Nonfatal XC0 i0 Link 03 {words(row, version=version)}")
    assert event is not None
    judgement = judge(event)
    assert wanted(row) == (judgement.verdict, judgement.action)


@pytest.mark.parametrize("version", [1, 2])
def test_promoted_rows_need_a_reset(version: int) -> None:
    rows = [row for row in ROWS if row.promoted_by_v1_bit is not None]
    assert len(rows) == 3
    for row in rows:
        event = parse(145, f"RLW_RXPIPE Nonfatal XC0 i0 Link 03 {words(row, version=version, promoted=True)}")
        assert event is not None
        assert (judge(event).verdict, judge(event).action) == (Verdict.FAILED, Action.RESET_GPU)


@pytest.mark.parametrize(
    ("xid_code", "intr_info", "status", "reason"),
    [
        (145, 0x040980C2, 0x8, "RLW_RXPIPE, link 3: non-fatal; contact support"),
        (149, 0x021425C6, 0x0, "NETIR_LINK_DOWN, link 3: fatal to the link; investigate peer device"),
        (149, 0x000FE406, 0x0, "NETIR_INT, link 3: fatal to the link; sympathetic report solo"),
        (149, 0x004505C6, 0x0, "NETIR_LINK_DOWN, link 3: fatal to the link; investigate link si"),
        (145, 0x040984C2, 0x1, "RLW_RXPIPE, link 3: promoted to fatal"),
    ],
)
def test_worked_examples(xid_code: int, intr_info: int, status: int, reason: str) -> None:
    assert reason == judge(LinkEvent(xid_code, "ANY", False, 3, intr_info, status)).reason


def test_several_events_in_one_status_count_as_the_worst() -> None:
    assert Verdict.FAILED is judge(LinkEvent(144, "SAW_MVB", False, 3, 0x21, 0x1 | 0x2)).verdict


def test_words_of_no_row_are_judged_by_the_level_word() -> None:
    unlisted = LinkEvent(144, "SAW_MVB", False, 3, 0x3E0, 0x1)
    assert (judge(unlisted).verdict, judge(unlisted).action) == (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
    fatal = LinkEvent(144, "SAW_MVB", True, 3, 0x3E0, 0x1)
    assert (judge(fatal).verdict, judge(fatal).action) == (Verdict.FAILED, Action.RESET_GPU)


@pytest.mark.parametrize(
    ("message", "link"),
    [
        ("NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000)", 1),
        ("NETIR_LINK_EVT Fatal XC 1 i 2 Link 07 [0x021425c6, 0x00000000]", 7),
        ("MSE_WATCHDOG Fatal XC0 i0 Link -1 (0x00000000)", -1),
    ],
)
def test_printed_forms(message: str, link: int) -> None:
    event = parse(149, message)
    assert event is not None
    assert (link, True) == (event.link, event.is_fatal)


def test_a_message_without_words_is_left_to_the_catalogue() -> None:
    assert parse(149, "link went down") is None
