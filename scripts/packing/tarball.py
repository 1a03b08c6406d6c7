"""The tarball: the same files with a spec that rpmbuild takes, or to be unpacked as they are."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Final

from scripts.packing.release import GLIBC, ROOT, SYSTEMD, Release, project
from scripts.packing.tree import date

FILES: Final = ROOT / "package"


def build(release: Release, tree: Path, *, into: Path) -> Path:
    """Pack a tree, with what an rpm is made by beside it; return the tarball."""
    date(tree, release.epoch_s)
    name = f"fleetmend-{release.version}"
    path = into / f"{name}-py{release.python}-linux-{release.machine}.tar.gz"
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=release.epoch_s, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add_text(archive, f"{name}/fleetmend.spec", spec(release, path.name), release)
        _add_text(archive, f"{name}/README", (FILES / "README").read_text(encoding="utf-8"), release)
        for file in sorted(tree.rglob("*")):
            archive.add(file, f"{name}/files/{file.relative_to(tree)}", recursive=False, filter=_as_root)
    return path


def spec(release: Release, source: str) -> str:
    """Return what rpmbuild is told."""
    text = (FILES / "fleetmend.spec.in").read_text(encoding="utf-8")
    values = {
        "version": release.version,
        "release": f"1.py{release.python}",
        "summary": str(project()["description"]).rstrip("."),
        "source": source,
        "machine": release.machine,
        "python": release.python,
        "glibc": ".".join(str(part) for part in GLIBC),
        "systemd": str(SYSTEMD),
        "date": release.date.strftime("%a %b %d %Y"),
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _add_text(archive: tarfile.TarFile, name: str, text: str, release: Release) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(content), release.epoch_s, 0o644
    archive.addfile(_as_root(member), io.BytesIO(content))
