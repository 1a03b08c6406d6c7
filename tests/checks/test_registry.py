"""One name everywhere: a check's id is its file, its place in the registry and its case folder."""

from __future__ import annotations

import importlib
from pathlib import Path

import checks
from checks.check import LevelCheck
from checks.policy import AT_ONCE, Policy
from checks.readings import READINGS
from checks.registry import CHECKS
from tests.support.check_cases import ROOT, all_cases

PACKAGE = Path(checks.__file__).parent
SHELVES = {"data", "readings"}
"""Folders of the package that hold no checks."""


def ids_of_files() -> set[str]:
    files = (path for path in PACKAGE.glob("*/*.py") if path.stem != "__init__" and path.parent.name not in SHELVES)
    return {f"{path.parent.name}.{path.stem}" for path in files}


def test_every_file_is_registered_once() -> None:
    ids = [check.id for check in CHECKS]
    assert ids_of_files() == set(ids)
    assert len(set(ids)) == len(ids)


def test_every_file_holds_the_check_of_its_name() -> None:
    for check in CHECKS:
        assert importlib.import_module(f"checks.{check.id}").CHECK is check


def test_every_check_has_cases_and_every_case_a_check() -> None:
    assert {check.id for check in CHECKS} == {path.name for path in ROOT.iterdir()}
    assert {check.id for check in CHECKS} == {case.check for case in all_cases()}


def test_every_case_says_where_its_text_is_from() -> None:
    assert [case.name for case in all_cases() if not case.origin.strip()] == []


def test_every_check_is_documented_and_has_a_source() -> None:
    for check in CHECKS:
        assert check.summary.endswith(".")
        assert check.thresholds or check.id == "gpu.nvml"
        assert not isinstance(check, LevelCheck) or check.reading in READINGS
        assert check.outcomes


def test_every_policy_that_is_not_the_default_says_why() -> None:
    silent = [check.id for check in CHECKS if isinstance(check, LevelCheck) and check.policy != AT_ONCE]
    assert [check for check in silent if not policy_of(check).because] == []


def policy_of(check_id: str) -> Policy:
    (check,) = [check for check in CHECKS if check.id == check_id]
    assert isinstance(check, LevelCheck)
    return check.policy
