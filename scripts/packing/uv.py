"""uv, which builds the wheel, reads the lock and fetches what it names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from scripts.packing.release import ROOT, Release

LIMIT_S: Final = 500.0


class Broken(Exception):
    """A program did not do its part; the text is what it said."""


def find_uv() -> str:
    """Return the path of uv; fetch it where it is missing."""
    return run([str(ROOT / "scripts" / "ensure-uv")]).strip()


def run(command: list[str], *, folder: Path = ROOT, epoch_s: int | None = None) -> str:
    """Run a program; return what it printed.

    Raises:
        Broken: it failed.
    """
    environment = {**os.environ, "UV_LINK_MODE": "copy"}
    if epoch_s is not None:
        environment["SOURCE_DATE_EPOCH"] = str(epoch_s)
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    if ended.returncode != 0:
        raise Broken(f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}".rstrip())
    return ended.stdout


def build(release: Release, *, into: Path, root: Path = ROOT, sdist: bool = True) -> Path:
    """Build the sdist, and the wheel from it; return the wheel.

    What the build needs is most often in uv's cache, so that the network is asked second.

    Args:
        sdist: whether that is wanted; else the wheel is built from the checkout.
    """
    what = [] if sdist else ["--wheel"]
    command = [find_uv(), "build", "--quiet", "--no-create-gitignore", *what, "--out-dir", str(into), str(root)]
    try:
        run([*command, "--offline"], epoch_s=release.epoch_s)
    except Broken:
        run(command, epoch_s=release.epoch_s)
    return into / f"fleetmend-{release.version}-py3-none-any.whl"


def export(release: Release, *options: str) -> str:
    """Return what uv.lock names for a release, in the format that the options ask for."""
    extras = [f"--extra={extra}" for extra in release.extras]
    return run([find_uv(), "export", "--quiet", "--frozen", "--no-dev", *extras, *options])


def install(release: Release, wheel: Path, *, into: Path) -> None:
    """Fill a folder with the wheel and exactly what the lock names for it, each file checked against its hash."""
    requirements = into.parent / "requirements.txt"
    export(release, "--no-emit-project", f"--output-file={requirements}")
    command = [find_uv(), "pip", "install", "--quiet", "--no-deps", f"--target={into}"]
    command += [f"--python-version={release.python}", f"--python-platform={release.platform}", "--only-binary=:all:"]
    locked = [*command, "--require-hashes", f"--requirements={requirements}"]
    try:
        run([*locked, "--offline"])
    except Broken:
        run(locked)
    run([*command, "--offline", str(wheel)])
