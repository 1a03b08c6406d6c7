"""`make audit`: whether a known vulnerability is in what uv.lock names. Who could not be asked has not said no.

pip-audit itself ends well when its service knows none of the packages, as a mirror of PyPI does: every package of the
lock is looked for in what it wrote.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from scripts.packing import licences, uv
from scripts.packing.licences import normal
from scripts.packing.release import EXTRAS, Release, project

IN_ITS_OWN: Final = ("run", "--quiet", "--isolated", "--frozen", "--only-group=supply-chain", "--")
AUDIT: Final = (
    *("pip-audit", "--require-hashes", "--disable-pip"),
    *("--vulnerability-service=osv", "--progress-spinner=off"),
)


class Answer(IntEnum):
    """What the audit ends with."""

    CLEAN = 0
    VULNERABLE = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the packages of the lock.

    Attributes:
        vulnerable: a sentence for each vulnerability.
        unasked: packages of which nothing is known.
    """

    vulnerable: tuple[str, ...]
    unasked: tuple[str, ...]

    @property
    def answer(self) -> Answer:
        """A vulnerability that is known outweighs what is not."""
        if self.vulnerable:
            return Answer.VULNERABLE
        return Answer.UNKNOWN if self.unasked else Answer.CLEAN


def judge(report: dict[str, Any], names: Iterable[str]) -> Found:
    """Return what a report of pip-audit (JSON) says of the packages of these names."""
    told = {normal(each["name"]): each for each in report["dependencies"]}
    unasked = [name for name in names if "vulns" not in told.get(name, {})]
    return Found(tuple(line for each in told.values() for line in _sentences(each)), tuple(sorted(unasked)))


def _sentences(dependency: dict[str, Any]) -> Iterator[str]:
    for each in dependency.get("vulns", []):
        mended = " or ".join(each["fix_versions"]) or "no version yet"
        yield f"{dependency['name']} {dependency['version']}: {each['id']}, mended in {mended}"


def ask(options: list[str], folder: Path) -> dict[str, Any]:
    """Run pip-audit over the lock; return its report.

    Args:
        options: more of them, for pip-audit.
        folder: to work in.

    Raises:
        uv.Broken: it wrote none; the text is what it said.
    """
    requirements, report = folder / "requirements.txt", folder / "report.json"
    every = Release(version=str(project()["version"]), epoch_s=0, extras=EXTRAS)
    uv.export(every, "--no-emit-project", f"--output-file={requirements}")
    asked = [*AUDIT, f"--requirement={requirements}", "--format=json", f"--output={report}", *options]
    try:
        uv.run([uv.find_uv(), *IN_ITS_OWN, *asked])
    except uv.Broken as failure:
        if not report.exists():
            raise uv.Broken(str(failure).splitlines()[-1]) from failure
    found = json.loads(report.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def main() -> int:
    """Ask, and say what came of it."""
    names = licences.locked()
    with tempfile.TemporaryDirectory(prefix="fleetmend-audit-") as folder:
        try:
            found = judge(ask(sys.argv[1:], Path(folder)), names)
        except uv.Broken as failure:
            print(f"make audit: nobody could be asked, so nothing is known: {failure}", file=sys.stderr)
            return Answer.UNKNOWN
    for line in found.vulnerable:
        print(line)
    if found.unasked:
        print(f"make audit: nothing is known of {', '.join(found.unasked)}", file=sys.stderr)
    if found.answer is Answer.CLEAN:
        print(f"no known vulnerability in {len(names)} packages")
    return found.answer


if __name__ == "__main__":
    sys.exit(main())
