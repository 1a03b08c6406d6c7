"""Where everything lies on a host: the files of a package, below a folder that stands for the root."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Final

from scripts.packing import environment, licences, sbom, uv
from scripts.packing.release import ROOT, Release

UNITS: Final = {".service", ".target", ".path", ".timer"}
CREDENTIALS: Final = "credentials.conf"
GIVEN_SECRETS: Final = ("fleetmend-agent", "fleetmend-backup", "fleetmend-controller")
SHARED: Final = ("ansible", "examples", "kubernetes", "monitoring", "slurm")
"""Folders that people copy from, as the how-tos say."""

PROGRAMS: Final = ("fleetmend", "fleetmend-agent", "fleetmend-controller")
"""Those that people call by hand."""

SAMPLES: Final = ("benchmarks.conf", "repairs.conf", CREDENTIALS, "fleetmend-broker.conf", "fleetmend-broker.nft")
DOCUMENTS: Final = "usr/share/doc/fleetmend"


def lay_out(release: Release, wheel: Path, *, root: Path) -> None:
    """Put every file of a package below `root`, dated by the release."""
    environment.make(release, wheel, root=root)
    _add_documents(release, root)
    add_around(root)


def add_around(root: Path) -> None:
    """Put below `root` what is around the environment: units, users, folders, the program, and what one copies from."""
    _add_units(root)
    _add_shared(root)
    programs = root / "usr" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).symlink_to(f"/{environment.VENV}/bin/{name}")


def packages(release: Release, root: Path) -> Path:
    """Return the folder of the tree that holds Python's packages."""
    return root / environment.VENV / "lib" / f"python{release.python}" / "site-packages"


def put(source: Path, target: Path, *, is_program: bool = False) -> None:
    """Copy a file and make the folders that it is in."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if is_program else 0o644)


def _add_units(root: Path) -> None:
    systemd, units = ROOT / "systemd", root / "usr" / "lib" / "systemd" / "system"
    for file in sorted(systemd.iterdir()):
        if file.suffix in UNITS:
            put(file, units / file.name)
    for unit in GIVEN_SECRETS:
        put(systemd / CREDENTIALS, units / f"{unit}.service.d" / CREDENTIALS)
    for kind in ("sysusers", "tmpfiles"):
        put(systemd / f"fleetmend.{kind}.conf", root / "usr" / "lib" / f"{kind}.d" / "fleetmend.conf")
    programs = root / "usr" / "lib" / "fleetmend"
    put(systemd / "fleetmend-hold", programs / "fleetmend-hold", is_program=True)
    put(ROOT / "package" / "package-step", programs / "package-step", is_program=True)


def _add_shared(root: Path) -> None:
    shared = root / "usr" / "share" / "fleetmend"
    for name in SHARED:
        shutil.copytree(ROOT / name, shared / name, ignore=shutil.ignore_patterns("__pycache__", "*_test.yaml"))
    for name in SAMPLES:
        put(ROOT / "systemd" / name, shared / "systemd" / name)


def _add_documents(release: Release, root: Path) -> None:
    """Add what changed, what is in it and by which licences; the manual comes with the controller.

    Raises:
        uv.Broken: something is in it whose licence is not allowed.
    """
    folder = root / DOCUMENTS
    folder.mkdir(parents=True)
    text = (ROOT / "CHANGELOG.md").read_bytes()
    (folder / "changelog.gz").write_bytes(gzip.compress(text, mtime=0))
    brought = [each for each in environment.distributions(packages(release, root)) if each.name != "fleetmend"]
    licensed, wrong = licences.judged(brought, licences.rules())
    if wrong:
        raise uv.Broken("\n".join(wrong))
    (folder / "licences.txt").write_text(licences.table(licensed), encoding="utf-8")
    (folder / "sbom.cdx.json").write_text(sbom.text(release, licensed), encoding="utf-8")


def date(root: Path, epoch_s: int) -> None:
    """Give every file one date and the usual rights, whoever built it and when."""
    for folder, _, files in os.walk(root, topdown=False):
        for path in (*(Path(folder) / name for name in files), Path(folder)):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (epoch_s, epoch_s), follow_symlinks=False)
