"""Playbook files to playbooks: all of a directory, or all that is wrong with any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from checks.readings.site import ID
from checks.registry import CHECKS
from controller.playbooks.document import MAX_BYTES, read_document
from controller.playbooks.overlaps import overlaps
from controller.playbooks.paths import flaws
from controller.playbooks.problems import Notes, PlaybookErrors, Problem, nearest
from controller.playbooks.shape import Draft, read_playbook
from controller.policy.opening import OPERATOR_CORDON
from controller.policy.playbook import EVERY_SITE_CHECK, OWN_CHECKS, Playbook
from controller.policy.silence import FLEET_SILENCE

SUFFIX = ".yaml"
KNOWN_CHECKS = frozenset({*(check.id for check in CHECKS), *OWN_CHECKS, EVERY_SITE_CHECK})
"""What a node's agent can find, and what the controller finds itself. Checks of a site have names of its own
besides."""
RESERVED_NAMES = frozenset({FLEET_SILENCE.name, OPERATOR_CORDON.name})


def load_default() -> tuple[Playbook, ...]:
    """Return the playbooks that come with fleetmend."""
    return load_directory(default_directory())


def default_directory() -> Path:
    """Return where the playbooks that come with fleetmend are."""
    return Path(str(files("playbooks")))


def load_directory(path: Path) -> tuple[Playbook, ...]:
    """Return every playbook of a directory, in the order of precedence.

    Raises:
        PlaybookErrors: with every problem of every file.
    """
    drafts, problems = _read_all([path])
    if problems:
        raise PlaybookErrors(problems)
    return tuple(sorted((draft.playbook for draft in drafts), key=lambda each: (each.precedence, each.name)))


def lint(paths: Iterable[Path]) -> list[Problem]:
    """Return every problem of these files and directories, taken together as one set of playbooks."""
    return sorted(_read_all(paths)[1])


def parse(content: bytes, *, file: str) -> Playbook:
    """Return the playbook of one file's content, judged by itself.

    Raises:
        PlaybookErrors: with every problem of it.
    """
    notes = Notes(file)
    draft = _draft(content, notes)
    if draft is None or notes.problems:
        raise PlaybookErrors(notes.problems)
    return draft.playbook


def _read_all(paths: Iterable[Path]) -> tuple[list[Draft], list[Problem]]:
    drafts: list[Draft] = []
    problems: list[Problem] = []
    for path in _files(paths, problems):
        notes = Notes(str(path))
        draft = _read(path, notes)
        problems += notes.problems
        drafts += [draft] if draft is not None else []
    return drafts, [*problems, *_between(drafts)]


def _files(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    """Yield the files meant by paths. What is not a playbook by its name is a slip of the pen, not a thing to skip."""
    for path in dict.fromkeys(paths):
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.iterdir() if not each.name.startswith("."))
        if not any(each.suffix == SUFFIX for each in found):
            problems.append(Problem(str(path), 1, "directory", "it holds no playbook", f"add files NAME{SUFFIX}"))
        yield from (each for each in found if each.suffix == SUFFIX)
        for each in (each for each in found if each.suffix in {".yml", ".json"}):
            wrong = f"`{each.suffix}` is not read"
            problems.append(Problem(str(each), 1, "file", wrong, f"rename it to {each.stem}{SUFFIX}"))


def _read(path: Path, notes: Notes) -> Draft | None:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        notes.add(1, "file", f"it cannot be read: {error.strerror}", "name a readable file or directory")
        return None
    draft = _draft(content, notes)
    if draft is not None and draft.playbook.name != path.stem:
        right = f"call the file {draft.playbook.name}{SUFFIX} or the playbook `{path.stem}`"
        notes.add(draft.lines["playbook"], "playbook", f"`{draft.playbook.name}` is not the file's name", right)
    return draft


def _draft(content: bytes, notes: Notes) -> Draft | None:
    value = read_document(content, notes)
    if value is None or notes.problems:
        return None
    draft = read_playbook(value, notes, digest=hashlib.sha256(content).hexdigest())
    if draft is not None:
        _judge(draft, notes)
    return draft


def _judge(draft: Draft, notes: Notes) -> None:
    playbook, lines = draft.playbook, draft.lines
    if playbook.name in RESERVED_NAMES:
        notes.add(lines["playbook"], "playbook", f"`{playbook.name}` is fleetmend's own", "choose another name")
    for index, line in enumerate(playbook.answers):
        if line.check not in KNOWN_CHECKS and not ID.fullmatch(line.check):
            path = f"answers[{index}].check"
            notes.add(lines[path], path, f"there is no check `{line.check}`", nearest(line.check, KNOWN_CHECKS))
    for flaw in flaws(playbook):
        notes.add(lines[flaw.path], flaw.path, flaw.wrong, flaw.right)


def _between(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield what is wrong only because of another file."""
    first: dict[str, Draft] = {}
    for draft in drafts:
        other = first.setdefault(draft.playbook.name, draft)
        if other is not draft:
            wrong = f"`{draft.playbook.name}` is also the name of {other.file}"
            yield _problem(draft, "playbook", wrong, "give every playbook its own name")
    for (one, _), (two, index) in overlaps([draft.playbook for draft in drafts]):
        playbook = drafts[one].playbook
        wrong = f"{playbook.name} answers some of this too, at the same precedence {playbook.precedence}"
        yield _problem(drafts[two], f"answers[{index}]", wrong, "give one of them another precedence")


def _problem(draft: Draft, path: str, wrong: str, right: str) -> Problem:
    return Problem(draft.file, draft.lines[path], path, wrong, right)
