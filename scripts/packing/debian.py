"""The .deb, made by dpkg-deb alone."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from scripts.packing import uv
from scripts.packing.release import GLIBC, ROOT, SYSTEMD, Release
from scripts.packing.tree import DOCUMENTS, date, put

FILES: Final = ROOT / "package" / "debian"
SCRIPTS: Final = ("postinst", "prerm", "postrm")

CONTROL: Final = """\
Package: fleetmend
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {installed_kib}
Depends: libc6 (>= {glibc}), passwd, python3, python{python}, systemd (>= {systemd})
Suggests: mosquitto, nftables
Section: admin
Priority: optional
Description: health and fault remediation for GPU fleets
 An agent on every host measures GPUs, ECC memory, NVLink, RDMA links and
 collectives, and says what it found over MQTT. A controller decides, cordons,
 drains, repairs, verifies and returns the node to service, or hands a person
 one ticket and one page that already hold the evidence.
 .
 Agent, controller and command line come in one private virtual environment in
 /opt/fleetmend, with every library that they need. Nothing is started before
 it is configured.
"""

CHANGES: Final = """\
fleetmend ({version}) unstable; urgency=medium

  * See changelog.gz.

 -- {maintainer}  {date}
"""


def maintainer() -> str:
    """Return who answers for the package: DEBFULLNAME and DEBEMAIL, as everywhere in Debian."""
    name = os.environ.get("DEBFULLNAME", "The maintainers of fleetmend")
    return f"{name} <{os.environ.get('DEBEMAIL', 'fleetmend@localhost.localdomain')}>"


def build(release: Release, tree: Path, *, into: Path, compression: str = "xz") -> Path:
    """Make the package of a tree, which is left with what belongs to Debian alone; return its path.

    Args:
        compression: `xz`, or `none` for one that is unpacked here and now.
    """
    _add_documents(release, tree)
    described = tree / "DEBIAN"
    shutil.rmtree(described, ignore_errors=True)
    for name in SCRIPTS:
        put(FILES / name, described / name, is_program=True)
    (described / "md5sums").write_text("".join(_sums(tree)), encoding="utf-8")
    (described / "control").write_text(_control(release, tree), encoding="utf-8")
    date(tree, release.epoch_s)
    package = into / f"fleetmend_{release.debian_version}_{release.architecture}.deb"
    command = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", str(tree), str(package)]
    uv.run(command, epoch_s=release.epoch_s)
    shutil.rmtree(described)
    return package


def _add_documents(release: Release, tree: Path) -> None:
    put(FILES / "copyright", tree / DOCUMENTS / "copyright")
    changes = CHANGES.format(
        version=release.debian_version, maintainer=maintainer(), date=format_datetime(release.date)
    ).encode()
    (tree / DOCUMENTS / "changelog.Debian.gz").write_bytes(gzip.compress(changes, mtime=0))
    put(FILES / "lintian-overrides", tree / "usr" / "share" / "lintian" / "overrides" / "fleetmend")


def _control(release: Release, tree: Path) -> str:
    return CONTROL.format(
        version=release.debian_version,
        architecture=release.architecture,
        maintainer=maintainer(),
        installed_kib=sum(-(-path.stat().st_size // 1024) for path in _files(tree)),
        glibc=".".join(str(part) for part in GLIBC),
        python=release.python,
        systemd=SYSTEMD,
    )


def _files(tree: Path) -> Iterator[Path]:
    """Yield every file that is no link and nothing of dpkg's own, in order."""
    for folder, folders, names in os.walk(tree):
        folders.sort()
        if Path(folder) == tree and "DEBIAN" in folders:
            folders.remove("DEBIAN")
        yield from (path for name in sorted(names) if not (path := Path(folder) / name).is_symlink())


def _sums(tree: Path) -> Iterator[str]:
    for path in _files(tree):
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        yield f"{digest}  {path.relative_to(tree)}\n"
