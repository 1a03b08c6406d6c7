"""Kills each act of an authority with SIGKILL, before every change that it makes in its folder; prints how often.

Run as a module with a folder to work in: a process that forks must have no other thread. After each kill the authority
is to be whole, and the same act, done again, to end well or to find that it was done.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from controller.pki.authority import Authority, AuthorityError
from controller.pki.certificates import Kind
from tests.support.killed import dies

NOW: Final = datetime.now(UTC)
DONE: Final = ("already", "no good certificate", "prepare one first", "nothing to retire")


def issue(authority: Authority, name: str) -> None:
    """Give a name a certificate."""
    authority.issue(common_name=name, kind=Kind.AGENT, days=9, now=NOW)


def founded(folder: Path) -> Authority:
    """Return an authority that gave two names a certificate."""
    authority = Authority.found(folder, now=NOW)
    for name in ("node1", "node2"):
        issue(authority, name)
    return authority


def nothing(folder: Path) -> None:
    """Leave the folder to be made."""
    assert not folder.exists()


def prepared(folder: Path) -> Authority:
    """Return one with a CA that is to follow."""
    authority = founded(folder)
    authority.prepare(now=NOW)
    return authority


def switched(folder: Path) -> Authority:
    """Return one whose second CA signs."""
    authority = prepared(folder)
    authority.switch()
    return authority


ACTS: Final[dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]]] = {
    "init": (nothing, lambda folder: Authority.found(folder, now=NOW)),
    "issue": (founded, lambda folder: issue(Authority(folder), "node3")),
    "revoke": (switched, lambda folder: Authority(folder).revoke("node1", now=NOW)),
    "prepare": (founded, lambda folder: Authority(folder).prepare(now=NOW)),
    "switch": (prepared, lambda folder: Authority(folder).switch()),
    "retire": (switched, lambda folder: Authority(folder).retire()),
}


def again(name: str, act: Callable[[Path], object], folder: Path) -> None:
    """Do it again, and see that the authority is whole."""
    try:
        act(folder)
    except AuthorityError as error:
        assert any(each in str(error) for each in DONE), f"{name}: {error}"
    authority = Authority.load(folder)
    issue(authority, "node9")
    authority.revoke("node9", now=NOW)
    if name == "retire":
        assert not list((folder / "other-keys").iterdir()), "a key is left"
    if name == "revoke":
        assert len(authority.revoked()) == 2, authority.revoked()


def main(work: Path) -> None:
    """Kill each act at each step."""
    kills = 0
    for name, (before, act) in ACTS.items():
        at = 0
        while True:
            at += 1
            folder = work / "pki"
            before(folder)
            killed = dies(partial(act, folder), at)
            again(name, act, folder)
            shutil.rmtree(folder)
            if not killed:
                break
            kills += 1
    print(kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
