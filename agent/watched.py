"""What is judged on one node: the checks that come with fleetmend, those of the site, and what the settings change.

A site adds an executable in a folder, or a package with entry points: functions that look for themselves, each run as a
program of its own (`fleetmend.probes`), and checks over what the agent reads anyway (`fleetmend.checks`). What cannot
be used is no error of the agent: its check stands as `unknown` and says why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

import structlog

from agent.foreign import guarded, why_no_check
from agent.settings import CheckSettings, Watch
from agent.sources.site import Program
from agent.sources.site_probe import GROUP as PROBES
from agent.sources.source import Timing
from agent.time_limit import limited
from checks.check import Check, LatchedCheck, LevelCheck
from checks.readings.site import FAMILY, ID
from checks.registry import CHECKS
from checks.site import site_check

log = structlog.get_logger()

CHECK_GROUP: Final = "fleetmend.checks"
"""Entry points of checks (checks/check.py) that judge what the agent's own sources read."""

LOAD_LIMIT_S: Final = 5.0
"""For the import of a site's own check. Source: our choice; nothing is watched before all of them are loaded."""

LEFT_OVER: Final = ("~", ".bak", ".orig", ".rpmnew", ".rpmsave", ".rpmorig", ".dpkg-new", ".dpkg-old", ".dpkg-dist")
"""How files end that editors and package managers leave beside a program."""

Found = LevelCheck | LatchedCheck | Program


@dataclass(frozen=True, slots=True)
class Watched:
    """What is judged on a node.

    Attributes:
        programs: the site's own, each the source of the check of its name.
    """

    checks: tuple[Check, ...]
    programs: tuple[Program, ...]


def watched(watch: Watch) -> Watched:
    """Return what the settings, the site's folder and the site's packages make of this node's checks."""
    found = [*programs_in(_folder(watch)), *_probes(), *_packaged()]
    programs = list[Program]()
    checks = list[Check](CHECKS)
    for each in _once(found):
        if isinstance(each, Program):
            programs.append(replace(each, timing=_timing(watch, each.name)))
            checks.append(site_check(each.name))
        else:
            checks.append(each)
    kept = tuple(_adjusted(check, watch.checks.get(check.id)) for check in checks if _is_wanted(watch, check.id))
    _note_unused(watch, {check.id for check in checks})
    return Watched(kept, tuple(each for each in programs if _is_wanted(watch, each.name)))


def programs_in(folder: Path) -> Iterator[Program]:
    """Yield the programs of a folder, in the order of names; none where there is no folder."""
    try:
        paths = sorted(path for path in folder.iterdir() if _is_program(path))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield Program(UNREADABLE, NEVER, refused=f"{folder} cannot be read: {error.strerror}")
        return
    for path in paths:
        name = f"{FAMILY}.{path.name.partition('.')[0].replace('-', '_')}"
        if _is_name(name, str(path)):
            yield Program(name, NEVER, (str(path),), file=path)


def _is_program(path: Path) -> bool:
    if path.name.startswith((".", "README")) or path.name.endswith(LEFT_OVER) or not path.is_file():
        return False
    return os.access(path, os.X_OK) or _is_script(path)


UNREADABLE: Final = f"{FAMILY}.folder"
"""The check that stands, as `unknown`, for the programs of a folder that cannot be read."""

NEVER: Final = Timing(0.0, 0.0, 0.0)
"""Of a program whose timing the settings have not given yet."""


def _probes() -> Iterator[Program]:
    for point in entry_points(group=PROBES):
        if _is_name(point.name, f"entry point {point.value}"):
            command = (sys.executable, "-m", "agent.sources.site_probe", point.name)
            yield Program(point.name, NEVER, command, tells_findings=True)


def _packaged() -> Iterator[Found]:
    for point in entry_points(group=CHECK_GROUP):
        if _is_name(point.name, f"entry point {point.value}"):
            yield _load(point)


def _load(point: EntryPoint) -> Found:
    """Return the check of an entry point, as foreign code is trusted with it: with a limit of time."""
    try:
        check: object = limited(point.load, limit_s=LOAD_LIMIT_S)()
        flaw = why_no_check(check, point.name)
    except Exception as error:
        return Program(point.name, NEVER, refused=f"{point.value} cannot be loaded: {error!r}")
    if flaw:
        return Program(point.name, NEVER, refused=f"{point.value} {flaw}")
    assert isinstance(check, LevelCheck | LatchedCheck)
    return guarded(check)


def _once(found: Iterable[Found]) -> Iterator[Found]:
    """Yield each name once; where two have one name, neither is believed."""
    by_name: dict[str, list[Found]] = {}
    for each in found:
        by_name.setdefault(_name_of(each), []).append(each)
    for name, alike in by_name.items():
        if len(alike) == 1:
            yield alike[0]
        else:
            yield Program(
                name, NEVER, refused=f"{len(alike)} programs or packages are called {name}: rename all but one"
            )


def _name_of(found: Found) -> str:
    return found.name if isinstance(found, Program) else found.id


def _is_name(name: str, where: str) -> bool:
    if ID.fullmatch(name):
        return True
    log.error("site_check.refused", where=where, because=f"{name!r} is not like {ID.pattern}")
    return False


def _folder(watch: Watch) -> Path:
    """Return the folder of this machine; a simulated one has its own."""
    folder = watch.site.folder
    if watch.simulation_directory is None:
        return folder
    return watch.simulation_directory / folder.relative_to(folder.anchor)


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _is_wanted(watch: Watch, name: str) -> bool:
    setting = watch.checks.get(name)
    return setting is None or setting.enabled


def _timing(watch: Watch, name: str) -> Timing:
    setting = watch.checks.get(name) or CheckSettings()
    interval_s = setting.interval_s or watch.site.interval_s
    deadline_s = min(setting.deadline_s or watch.site.deadline_s, interval_s)
    return Timing(interval_s, min(watch.site.fast_interval_s, interval_s), deadline_s)


def _adjusted(check: Check, setting: CheckSettings | None) -> Check:
    if setting is None or isinstance(check, LatchedCheck) or not (changes := setting.policy()):
        return check
    return replace(check, policy=replace(check.policy, **changes, because="as this node's settings say"))


def _note_unused(watch: Watch, known: Iterable[str]) -> None:
    for name in sorted(watch.checks.keys() - set(known)):
        log.warning("site_check.missing", check=name, because="the settings name it, and this node has no such check")
