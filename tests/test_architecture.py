"""The shape of the tree: floors, short functions, and no trace of the machine it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, checked_in

SOURCE_FOLDERS = ("agent", "benchmarks", "checks", "cli", "controller", "playbooks", "scripts", "wire")
MAX_FUNCTION_LINES = 60
SHORT_FUNCTION_LINES = 40
VAGUE_NAMES = {"base", "common", "helpers", "manager", "misc", "util", "utils"}

DEVELOPER_PATH = re.compile(rb"(?<![\w./-])/(?:home/[a-z][a-z0-9_-]*/|root/|Users/\w+/|work/|workspace/)")
"""Folders in which people check sources out. Service paths such as /var/lib and /etc are part of the product."""


def sources() -> list[Path]:
    return [path for folder in SOURCE_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(), str(path))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_imports_run_down_only() -> None:
    """The contracts are in pyproject.toml; this runs them wherever the tests run."""
    program = Path(sys.executable).with_name("lint-imports")
    linted = subprocess.run(
        [str(program), "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("program", ["agent.main", "controller.main"])
def test_opentelemetry_is_imported_by_whoever_sends_traces_alone(program: str) -> None:
    """An agent has no room for it, and a controller that sends no traces need not have it."""
    asked = f"import sys, {program}; print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (said.stdout.strip(), said.returncode) == ("[]", 0), said.stderr


def test_no_function_is_long() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name} has {length(function)} lines"
        for path in sources()
        for function in functions(path)
        if length(function) > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_nearly_every_function_is_short() -> None:
    lengths = [length(function) for path in sources() for function in functions(path)]
    short = sum(lines <= SHORT_FUNCTION_LINES for lines in lengths)
    assert short >= 0.95 * len(lengths), f"{len(lengths) - short} of {len(lengths)} functions have over 40 lines"


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [str(path.relative_to(ROOT)) for path in sources() if path.stem in VAGUE_NAMES] == []


def test_tests_are_not_a_package() -> None:
    assert [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("__init__.py")] == []


@pytest.mark.parametrize("line", [b'open("/home/ann/src/x")', b"#!/root/bin/python"])
def test_a_path_of_a_developer_would_be_found(line: bytes) -> None:
    assert DEVELOPER_PATH.search(line)


def test_no_file_names_a_folder_of_a_developer() -> None:
    """This file is left out: it spells the examples. So is the lock file, which is a tool's and full of hashes."""
    left_out = {Path(__file__).resolve(), ROOT / "uv.lock"}
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.decode(errors='replace').strip()[:100]}"
        for path in map(ROOT.joinpath, checked_in())
        if path.resolve() not in left_out and path.suffix != ".png"
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if DEVELOPER_PATH.search(line)
    ]
    assert found == []
