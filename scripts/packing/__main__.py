"""`make dist`: everything that a release hands out, in the folder dist."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.packing import debian, tarball, tree, uv
from scripts.packing.release import ARCHITECTURES, EXTRAS, PYTHONS, ROOT, Release, last_commit_s, project


def main() -> int:
    """Build, and say what was built."""
    release, into = _wanted()
    into.mkdir(parents=True, exist_ok=True)
    try:
        built = build(release, into=into)
    except uv.Broken as failure:
        print(f"make dist: {failure}", file=sys.stderr)
        return 1
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in built]
    (into / "SHA256SUMS").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print("\n".join(lines))
    return _lint(built)


def _lint(built: list[Path]) -> int:
    """Have lintian look at the .deb, where both are here."""
    packages = [str(path) for path in built if path.suffix == ".deb"]
    if not packages or shutil.which("lintian") is None:
        print("make dist: lintian is not here, skipped", file=sys.stderr)
        return 0
    return subprocess.run(["lintian", "--fail-on=error", *packages], check=False, stderr=subprocess.DEVNULL).returncode


def build(release: Release, *, into: Path) -> list[Path]:
    """Build the sdist, the wheel, the .deb and the tarball; return them."""
    wheel = uv.build(release, into=into)
    with tempfile.TemporaryDirectory(prefix="fleetmend-dist-") as folder:
        root = Path(folder) / "root"
        tree.lay_out(release, wheel, root=root)
        packed = tarball.build(release, root, into=into)
        if shutil.which("dpkg-deb") is None:
            print("make dist: dpkg-deb is not here: no .deb", file=sys.stderr)
            return [into / f"fleetmend-{release.version}.tar.gz", wheel, packed]
        package = debian.build(release, root, into=into)
    return [into / f"fleetmend-{release.version}.tar.gz", wheel, packed, package]


def _wanted() -> tuple[Release, Path]:
    parser = argparse.ArgumentParser(prog="make dist ARGS=...", description=__doc__)
    parser.add_argument("--python", choices=PYTHONS, default=PYTHONS[0], help="which Python it is for: %(choices)s")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="amd64", help="which processor it is for")
    parser.add_argument("--extra", action="append", choices=EXTRAS, default=[], help="what else to put in")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="the folder to build into")
    told = parser.parse_args()
    release = Release(
        version=str(project()["version"]),
        epoch_s=last_commit_s(),
        python=told.python,
        architecture=told.architecture,
        extras=tuple(told.extra),
    )
    return release, told.into


if __name__ == "__main__":
    sys.exit(main())
