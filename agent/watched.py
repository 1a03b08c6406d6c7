"""What is judged on one node: the checks that come with fleetmend, those of the site, and what the settings change.

A site adds an executable in a folder, or a package with entry points: functions that look for themselves, each run as a
program of its own (`fleetmend.probes`), and checks over what the agent reads anyway (`fleetmend.checks`). What cannot
be used is no error of the agent: its check stands as `unknown` and says why.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

import structlog

from agent.settings import CheckSettings, Watch
from agent.sources.site import Program
from agent.sources.site_probe import GROUP as PROBES
from agent.sources.source import Timing
from agent.time_limit import limited
from checks.check import Check, LatchedCheck, LevelCheck
from checks.readings import READINGS
from checks.readings.site import FAMILY, ID
from checks.registry import CHECKS
from checks.site import site_check

log = structlog.get_logger()

CHECK_GROUP: Final = "fleetmend.checks"
"""Entry points of checks (checks/check.py) that judge what the agent's own sources read."""

JUDGE_LIMIT_S: Final = 1.0
"""Of one judgement by a site's own check. Source: our choice; ours take microseconds, and the agent does nothing else
meanwhile."""

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
    if not folder.is_dir():
        return
    unsafe = _why_unsafe(folder)
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "README")) or path.name.endswith(LEFT_OVER) or not path.is_file():
            continue
        if not os.access(path, os.X_OK) and not _is_script(path):
            continue
        name = f"{FAMILY}.{path.name.partition('.')[0].replace('-', '_')}"
        if _is_name(name, str(path)):
            yield _program(name, path, unsafe or _why_unsafe(path) or _why_not_run(path))


def _program(name: str, path: Path, refused: str) -> Program:
    return Program(name, NEVER, () if refused else (str(path),), refused)


NEVER: Final = Timing(0.0, 0.0, 0.0)
"""Of a program whose timing the settings have not given yet."""


def _probes() -> Iterator[Program]:
    for point in entry_points(group=PROBES):
        if _is_name(point.name, f"entry point {point.value}"):
            yield Program(point.name, NEVER, (sys.executable, "-m", "agent.sources.site_probe", point.name))


def _packaged() -> Iterator[Found]:
    for point in entry_points(group=CHECK_GROUP):
        if _is_name(point.name, f"entry point {point.value}"):
            yield _load(point)


def _load(point: EntryPoint) -> Found:
    """Return the check of an entry point, as foreign code is trusted with it: with a limit of time."""
    try:
        check: object = point.load()
    except Exception as error:
        return Program(point.name, NEVER, refused=f"{point.value} cannot be loaded: {error!r}")
    if not isinstance(check, LevelCheck | LatchedCheck):
        because = f"{point.value} is {check!r}, and not a LevelCheck or a LatchedCheck of checks/check.py"
        return Program(point.name, NEVER, refused=because)
    if flaw := _flaw(check, point.name):
        return Program(point.name, NEVER, refused=f"{point.value} {flaw}")
    guarded = replace(check, judge=limited(check.judge, limit_s=JUDGE_LIMIT_S))
    if isinstance(guarded, LatchedCheck):
        return replace(guarded, released=limited(guarded.released, limit_s=JUDGE_LIMIT_S))
    return guarded


def _flaw(check: Check, name: str) -> str:
    if check.id != name:
        return f"is the check {check.id!r}: entry point and check have one name"
    if isinstance(check, LevelCheck) and check.reading not in READINGS:
        return f"judges {check.reading.__name__}, which no source of the agent takes"
    return ""


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


def _why_unsafe(path: Path) -> str:
    """Return why the agent does not run what lies here, empty when only root and the agent itself can change it."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {status.st_uid}, and not to root or to the agent: chown root {path}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be changed by others: chmod go-w {path}"
    return ""


def _why_not_run(path: Path) -> str:
    return "" if os.access(path, os.X_OK) else f"{path} is not executable for the agent: chmod a+x {path}"


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
