"""`make licences`: every package that fleetmend comes with, its licence, and whether that one may be among them."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from scripts.packing import uv
from scripts.packing.release import EXTRAS, ROOT, Release, project

RULES: Final = ROOT / "package" / "licences.toml"

NAMED: Final = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; (.+?))?(?: \\)?$", re.MULTILINE)
"""A package of an export of uv: name, version, and on which machines it is wanted."""

CLASSIFIER: Final = "License :: OSI Approved :: "


class Unclear(Exception):
    """What a package says of its licence is in nobody's list; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What licences.toml says.

    Attributes:
        allowed: names of SPDX.
        said: words of packages → name of SPDX.
        read: package → what a person read in its text.
    """

    allowed: frozenset[str]
    said: Mapping[str, str]
    read: Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Licensed:
    """One package and its licence, an expression of SPDX."""

    name: str
    version: str
    licence: str


def rules(file: Path = RULES) -> Rules:
    """Read the rules."""
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    return Rules(frozenset(table["allowed"]), table["said"], table["read"])


def locked(release: Release | None = None) -> list[str]:
    """Return the name of every package that uv.lock names for a release; for a host, with every extra, by default."""
    release = release or Release(version=str(project()["version"]), epoch_s=0, extras=EXTRAS)
    exported = uv.export(release, "--no-emit-project", "--no-hashes")
    return [name for name, _, marker in NAMED.findall(exported) if "sys_platform == 'emscripten'" not in marker]


def normal(name: str) -> str:
    """Return the name of a package as indexes and the lock write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(package: Distribution, told: Rules) -> str:
    """Return the licence of an installed package, as an expression of SPDX.

    Raises:
        Unclear: it says none, or in words that nobody has explained.
    """
    name = normal(package.name)
    if name in told.read:
        return told.read[name]
    for words in _said_by(package):
        if words in told.said or set(terms(words)) <= told.allowed:
            return told.said.get(words, words)
    raise Unclear(
        f"{package.name} {package.version} says of its licence: {', '.join(_said_by(package)) or 'nothing'}; "
        f"read its text, and add it under [said] or [read] of {RULES.relative_to(ROOT)} when it is allowed"
    )


def _said_by(package: Distribution) -> Iterator[str]:
    """Yield what it says, the most exact first."""
    expressions = package.metadata.get_all("License-Expression", [])
    if expressions:
        yield from expressions
        return
    yield from (words for words in package.metadata.get_all("License", []) if "\n" not in words)
    for classifier in package.metadata.get_all("Classifier", []):
        if classifier.startswith(CLASSIFIER):
            yield classifier.removeprefix(CLASSIFIER)


def terms(expression: str) -> list[str]:
    """Return the names in an expression."""
    return [word for word in re.split(r"[\s()]+", expression) if word and word not in {"AND", "OR"}]


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Return whether an expression of SPDX can be met by licences that are allowed: all of one side of an `OR`."""
    if "(" in expression or " WITH " in expression:
        return False
    return any(all(name in allowed for name in choice.split(" AND ")) for choice in expression.split(" OR "))


def judged(packages: Iterable[Distribution], told: Rules) -> tuple[list[Licensed], list[str]]:
    """Return the licence of each package, and a sentence for each that cannot be had or is not allowed."""
    found, wrong = [], []
    for package in packages:
        try:
            each = Licensed(normal(package.name), package.version, licence_of(package, told))
        except Unclear as problem:
            wrong.append(str(problem))
            continue
        found.append(each)
        if not is_allowed(each.licence, told.allowed):
            wrong.append(f"{each.name} {each.version} is under {each.licence}, which is not allowed")
    return sorted(found), wrong


def table(licensed: Iterable[Licensed]) -> str:
    """Return a line for each package."""
    return "".join(f"{each.name} {each.version}: {each.licence}\n" for each in licensed)


def main() -> int:
    """Print the list; what is wrong goes to standard error."""
    licensed, wrong = judged((distribution(name) for name in locked()), rules())
    print(table(licensed), end="")
    print("".join(f"make licences: {problem}\n" for problem in wrong), end="", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
