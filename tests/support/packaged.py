"""The .deb as a release makes it, built once for a session's tests, and a bare Debian to install it in."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from scripts.packing import debian, tree, uv
from scripts.packing.release import ARCHITECTURES, Release, last_commit_s, project
from tests.support.booted import root_file_system
from tests.support.parts import missing


def release_for(root: Path) -> Release:
    """Return a release for the Python of a root file system, on this machine's processor."""
    (python,) = (path.name for path in (root / "usr" / "bin").glob("python3.[0-9]*") if path.name[-1].isdigit())
    architecture = uv.run(["dpkg", "--print-architecture"]).strip()
    if architecture not in ARCHITECTURES:
        missing(f"a package for {architecture}")
    return Release(
        version=str(project()["version"]),
        epoch_s=last_commit_s(),
        python=python.removeprefix("python"),
        architecture=architecture,
    )


def build(folder: Path) -> list[Path]:
    """Build the package, and once more as the next version; both are packed loosely, to be quick."""
    if shutil.which("dpkg-deb") is None:
        missing("dpkg-deb")
    release = release_for(root_file_system())
    wheel, root = uv.build(release, into=folder, sdist=False), folder / "root"
    tree.lay_out(release, wheel, root=root)
    first = debian.build(release, root, into=folder, compression="none")
    after = replace(release, version="9.9.9")
    rename(tree.packages(release, root), release.version, after.version)
    return [first, debian.build(after, root, into=folder, compression="none")]


def rename(packages: Path, before: str, after: str) -> None:
    """Have what is installed in a folder call itself another version of fleetmend."""
    described = (packages / f"fleetmend-{before}.dist-info").rename(packages / f"fleetmend-{after}.dist-info")
    metadata = described / "METADATA"
    text = metadata.read_text()
    assert f"\nVersion: {before}\n" in text
    metadata.write_text(text.replace(f"\nVersion: {before}\n", f"\nVersion: {after}\n", 1))
