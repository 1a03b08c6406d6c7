"""What `dcgmi diag -j` printed: which tests ran on which GPUs and how each ended.

DCGM 3 and 4 differ in the name of the root, in how a result says whose it is, and in whether a warning is a text or an
object; anything that is in neither form is left out. A document without one test is no document: it must never read as
a machine without a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.bench.child import Broken
from agent.sources.printed_json import documents

ROOTS: Final = ("DCGM Diagnostic", "DCGM GPU Diagnostic")
"""Of DCGM 4 and of DCGM 3. Source: DCGM, dcgmi/Diag.cpp and common/NvvsJsonStrings.h."""

VERSION_KEYS: Final = ("version",)
DRIVER_KEYS: Final = ("Driver Version Detected", "driver_version_detected")
GPU: Final = "gpu"

_DIGITS = re.compile(r"\d{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DiagError:
    """What a test says is wrong. `number`, `severity`, `category`: DCGM's own, `None` where it gives none."""

    text: str
    number: int | None = None
    severity: int | None = None
    category: int | None = None


@dataclass(frozen=True, slots=True)
class DiagResult:
    """How one test ended on some GPUs.

    Attributes:
        group: of tests: `Deployment`, `Integration`, `Hardware`, `Stress`.
        status: in lower case: `pass`, `warn`, `fail`, `skip`, `not run`.
        gpus: DCGM's numbers of them; none for the host, or for another part.
    """

    test: str
    group: str
    status: str
    gpus: tuple[str, ...] = ()
    errors: tuple[DiagError, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it. Versions are empty where the document does not say them."""

    version: str
    driver: str
    results: tuple[DiagResult, ...]


def parse_diagnosis(printed: str) -> Diagnosis:
    """Return the diagnosis in what dcgmi printed.

    Raises:
        Broken: there is none, it did not run, or it names no test.
    """
    whole = next((each for each in documents(printed) if isinstance(each, dict) and _root(each) is not None), None)
    if whole is None:
        raise Broken("dcgmi printed no diagnosis")
    root = _root(whole) or {}
    if failure := _text(root.get("runtime_error")) or _text(whole.get("runtime_error")):
        raise Broken(f"DCGM could not run its diagnosis: {failure}")
    results = tuple(_results(root))
    if not results:
        raise Broken("the diagnosis of dcgmi names no test that ended")
    places = (root, whole, _table(whole.get("metadata")), _table(root.get("metadata")))
    return Diagnosis(_first(places, VERSION_KEYS), _first(places, DRIVER_KEYS), results)


def _root(whole: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((whole[name] for name in ROOTS if isinstance(whole.get(name), dict)), None)


def _results(root: Mapping[str, Any]) -> Iterator[DiagResult]:
    for category in _tables(root.get("test_categories")):
        group = _text(category.get("category"))
        for test in _tables(category.get("tests")):
            if name := _text(test.get("name")):
                yield from _of_test(test, name, group)


def _of_test(test: Mapping[str, Any], name: str, group: str) -> Iterator[DiagResult]:
    """Yield the results of each GPU; the summary over them stands in where there are none, or none says why."""
    summary = _table(test.get("test_summary"))
    results = [_result(each, name, group) for each in _tables(test.get("results")) if _text(each.get("status"))]
    summed = [_result(summary, name, group)] if _text(summary.get("status")) else []
    yield from results or summed
    if results and summed and summed[0].status == "fail" and not any(each.status == "fail" for each in results):
        yield summed[0]


def _result(table: Mapping[str, Any], name: str, group: str) -> DiagResult:
    status = " ".join(_text(table.get("status")).lower().split())
    return DiagResult(name, group, status, _gpus(table), tuple(_errors(table.get("warnings"))))


def _gpus(table: Mapping[str, Any]) -> tuple[str, ...]:
    if "entity_id" in table:
        group = _text(table.get("entity_group")) or GPU
        number = _number(table["entity_id"])
        return (str(number),) if number is not None and group.lower() == GPU else ()
    said = table.get("gpu_ids", table.get("gpu_id"))
    return tuple(_DIGITS.findall(said)) if isinstance(said, str) else () if _number(said) is None else (str(said),)


def _errors(warnings: object) -> Iterator[DiagError]:
    for each in warnings if isinstance(warnings, list) else [warnings]:
        if isinstance(each, dict):
            numbers = (_number(each.get(name)) for name in ("error_id", "error_severity", "error_category"))
            yield DiagError(_text(each.get("warning")), *numbers)
        elif text := _text(each):
            yield DiagError(text)


def _first(places: tuple[Mapping[str, Any], ...], names: tuple[str, ...]) -> str:
    return next((text for place in places for name in names if (text := _text(place.get(name)))), "")


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a text on one line; what is none says nothing."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    """Return a number; some builds write them as texts."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else None
