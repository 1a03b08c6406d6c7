"""The private virtual environment, made for another place than where it is built.

Nothing in it names the machine that built it, so that the same commit gives the same bytes.
"""

from __future__ import annotations

import csv
import shutil
from importlib.metadata import Distribution
from importlib.metadata import distributions as found_in
from pathlib import Path
from typing import Final

from scripts.packing import uv
from scripts.packing.release import Release

VENV: Final = "opt/fleetmend/venv"
"""The units start what is in there."""

LEFT_OUT: Final = ("REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
"""Tell how and from where it was installed here."""

LAUNCHER: Final = """\
#!/{venv}/bin/python3
import sys

from {module} import {function}

sys.exit({function}())
"""


def make(release: Release, wheel: Path, *, root: Path) -> None:
    """Make the environment below `root`, where the packages of a distribution have their files."""
    venv = root / VENV
    packages = venv / "lib" / f"python{release.python}" / "site-packages"
    packages.parent.mkdir(parents=True)
    uv.install(release, wheel, into=packages)
    (packages.parent / "requirements.txt").unlink()
    _forget(packages)
    _add_programs(release, venv, packages)


def distributions(packages: Path) -> list[Distribution]:
    """Return what is installed in a folder, by name."""
    return sorted(found_in(path=[str(packages)]), key=lambda each: each.name.lower())


def _forget(packages: Path) -> None:
    """Take out what says how it was installed, and the programs of others; what is left are modules and libraries."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for path in packages.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    (packages / ".lock").unlink(missing_ok=True)
    for described in packages.glob("*.dist-info"):
        for name in LEFT_OUT:
            (described / name).unlink(missing_ok=True)
        record = described / "RECORD"
        with record.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if (packages / row[0]).exists()]
        with record.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(sorted(rows))


def _add_programs(release: Release, venv: Path, packages: Path) -> None:
    programs = venv / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(f"/usr/bin/python{release.python}")
    (programs / "python").symlink_to("python3")
    configuration = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {release.python}\n"
    (venv / "pyvenv.cfg").write_text(configuration, encoding="utf-8")
    (ours,) = (each for each in distributions(packages) if each.name == "fleetmend")
    for script in ours.entry_points.select(group="console_scripts"):
        text = LAUNCHER.format(venv=VENV, module=script.module, function=script.attr)
        (programs / script.name).write_text(text, encoding="utf-8")
        (programs / script.name).chmod(0o755)
