"""What fleetmend comes with: every file by its hash, every licence allowed, every vulnerability asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from scripts.packing import licences, sbom
from scripts.packing.audit import Answer, Found, judge
from scripts.packing.licences import Licensed, Rules
from scripts.packing.release import EXTRAS, Release
from tests.support.checkout import ROOT

RELEASE = Release(version="0.1.0", epoch_s=1_600_000_000, extras=EXTRAS)


@pytest.fixture(scope="module")
def lock() -> list[dict[str, Any]]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert isinstance(packages, list)
    return packages


def test_the_lock_has_a_hash_for_every_file_of_every_package(lock: list[dict[str, Any]]) -> None:
    without = [
        package["name"] for package in lock if not all(file.get("hash", "")[:7] == "sha256:" for file in files(package))
    ]
    assert without == []
    assert [package["name"] for package in lock if not files(package)] == ["fleetmend"]


def files(package: dict[str, Any]) -> list[dict[str, Any]]:
    return [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]


def test_every_package_of_the_lock_is_that_of_the_public_index(lock: list[dict[str, Any]]) -> None:
    sources = {str(package["source"]) for package in lock if package["name"] != "fleetmend"}
    assert sources == {str({"registry": "https://pypi.org/simple"})}


def test_what_audits_is_in_no_environment_that_runs_or_tests(lock: list[dict[str, Any]]) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert not any(each.startswith("pip-audit") for each in groups["dev"])
    assert "pip-audit" not in licences.locked()
    assert "pip-audit" in {package["name"] for package in lock}


def test_every_licence_is_allowed() -> None:
    told, names = licences.rules(), licences.locked()
    licensed, wrong = licences.judged((distribution(name) for name in names), told)
    assert wrong == []
    assert {each.name for each in licensed} == set(names)


def test_no_licence_is_read_for_a_package_that_is_not_there() -> None:
    assert set(licences.rules().read) - set(licences.locked()) == set()


def rules(*allowed: str, **read: str) -> Rules:
    return Rules(frozenset(allowed), {}, read)


@pytest.mark.parametrize(
    ("expression", "is_allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only AND MIT OR Apache-2.0", True),
        ("(MIT)", False),
        ("MIT WITH Classpath-exception-2.0", False),
    ],
)
def test_an_expression_is_allowed_when_one_choice_is(expression: str, is_allowed: bool) -> None:
    assert licences.is_allowed(expression, frozenset({"MIT", "Apache-2.0"})) == is_allowed


def test_a_licence_that_is_not_allowed_is_told_by_name() -> None:
    _, wrong = licences.judged([distribution("psycopg")], rules("MIT", psycopg="LGPL-3.0-only"))
    assert [line.partition(" under ")[2] for line in wrong] == ["LGPL-3.0-only, which is not allowed"]
    _, wrong = licences.judged([distribution("psycopg")], rules("MIT"))
    assert "says of its licence: LGPL-3.0-only" in wrong[0]


def test_the_list_of_parts_has_a_hash_and_a_licence_for_each() -> None:
    licensed = [Licensed(name, distribution(name).version, "MIT") for name in licences.locked()]
    document = json.loads(sbom.text(RELEASE, licensed))
    parts = {(each["name"], each["version"]) for each in document["components"]}
    assert parts == {(each.name, each.version) for each in licensed}
    for each in document["components"]:
        assert each["licenses"] == [{"expression": "MIT"}]
        hashes = [told["alg"] for file in each["externalReferences"] for told in file["hashes"]]
        assert set(hashes) == {"SHA-256"}, each["name"]
    assert json.loads(sbom.text(RELEASE, licensed)) == document


def answered(*, vulns: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": "Jinja2", "version": "3.1.6", "vulns": vulns}


VULNERABLE = answered(vulns=[{"id": "PYSEC-1", "fix_versions": ["3.1.7"]}])
SKIPPED = {"name": "click", "skip_reason": "Dependency not found on PyPI and could not be audited: click (8.5.1)"}


@pytest.mark.parametrize(
    ("dependencies", "found", "answer"),
    [
        ([answered(vulns=[])], Found((), ()), Answer.CLEAN),
        ([VULNERABLE], Found(("Jinja2 3.1.6: PYSEC-1, mended in 3.1.7",), ()), Answer.VULNERABLE),
        ([answered(vulns=[]), SKIPPED], Found((), ("click",)), Answer.UNKNOWN),
        ([], Found((), ("click", "jinja2")), Answer.UNKNOWN),
    ],
)
def test_an_audit_is_clean_when_each_package_is_known_to_be(
    dependencies: list[dict[str, Any]], found: Found, answer: Answer
) -> None:
    names = ["jinja2"] if answer in {Answer.CLEAN, Answer.VULNERABLE} else ["jinja2", "click"]
    judged = judge({"dependencies": dependencies}, names)
    assert (judged, judged.answer) == (found, answer)


def test_an_audit_that_nobody_answers_is_never_clean(tmp_path: Path) -> None:
    """It has neither pip-audit nor a network to get it from."""
    environment = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    command = [sys.executable, "-m", "scripts.packing.audit"]
    asked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert (asked.returncode, asked.stdout) == (Answer.UNKNOWN, "")
    assert asked.stderr.startswith("make audit: nobody could be asked, so nothing is known: ")
