"""How long it is from a bare Debian to the first finding on the page, and what is installed for that.

A Debian with systemd and nothing else is booted in a container; `apt install` of the package, with Python and Mosquitto
as Debian has them; the files that docs/how-to/install.md has one write; start of broker, controller, agent; until the
node's page shows what a check of the site's own found. What apt fetches lies there already: how long that takes is
the mirror's affair. Then the sizes of what a release hands out, and how much of it an agent imports.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

from benchmarks.report import Row, publish, spread
from cli.broker import CONTROLLER
from scripts.packing import environment, licences, tree
from scripts.packing.__main__ import build
from scripts.packing.release import ROOT, Release
from tests.support import packaged
from tests.support.booted import ASK, Booted, bare, root_file_system
from tests.support.installed_cell import AGENT, BECAUSE, BROKER, CONTROLLING, NODE, WARM, configure

BARE: Final = "systemd,systemd-sysv,dbus"
NEEDED: Final = ("mosquitto", "python3")
BROUGHT: Final = "/mnt"
PAGE: Final = f"http://127.0.0.1:8642/nodes/{NODE}"
RUNS: Final = 3
AGENT_FOLDERS: Final = ("agent", "checks", "wire")
MIB: Final = 2**20


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs: int = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="fleetmend-bare-") as folder:
        release = packaged.release_for(root_file_system())
        handed_out = Path(folder) / "dist"
        handed_out.mkdir()
        built = build(release, into=handed_out)
        (package,) = (path for path in built if path.suffix == ".deb")
        root = make_root(Path(folder) / "root")
        times = [first_finding(root, package) for _ in range(runs)]
        rows = [row for what in times[0] for row in spread(what, [each[what] for each in times], "s")]
        rows += sizes(built, release, Path(folder) / "unpacked")
    publish("bare_debian", rows, about=f"{runs} times from a bare Debian to the first finding on the page")


def make_root(root: Path) -> Path:
    """Make a bare Debian, with the files of the packages that will be installed lying in apt's cache."""
    fetch = f'chroot "$1" apt-get install --quiet --yes --no-install-recommends --download-only {" ".join(NEEDED)}'
    (name,) = re.findall(r"^VERSION_CODENAME=(.+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={BARE}", f"--customize-hook={fetch}"]
    command += ["--skip=cleanup/apt", name, str(root)]
    subprocess.run(command, check=True, timeout=500)
    return root


def first_finding(root: Path, package: Path) -> dict[str, float]:
    """Boot, install, configure, start and look; return how long each took, in seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="fleetmend-machine-") as folder,
        bare(Path(folder), {str(package.parent): BROUGHT}, root=root) as machine,
    ):
        marks = [time.monotonic()]
        install = ("apt-get", "install", "--quiet", "--yes", "--no-install-recommends")
        machine.run(*install, *NEEDED, f"{BROUGHT}/{package.name}", limit_s=400)
        machine.run("systemctl", "disable", "--quiet", "--now", "mosquitto.service")
        marks.append(time.monotonic())
        configure(machine, CONTROLLER, NODE)
        machine.write(WARM, "")
        marks.append(time.monotonic())
        machine.run("systemctl", "enable", "--quiet", "--now", BROKER, CONTROLLING, AGENT)
        marks.append(time.monotonic())
        machine.until(lambda: is_on_the_page(machine), limit_s=60)
        marks.append(time.monotonic())
    spans = ("apt install", "configured", "broker, controller and agent ready", "then until the finding is on the page")
    took = {what: after - before for what, before, after in zip(spans, marks, marks[1:], strict=False)}
    return took | {"all of it": marks[-1] - marks[0]}


def is_on_the_page(machine: Booted) -> bool:
    """Return whether the page of the node shows the finding."""
    return BECAUSE in machine.ended("python3", "-c", ASK, PAGE).stdout


def sizes(built: Iterable[Path], release: Release, folder: Path) -> list[Row]:
    """Return how large everything is, and how much of it an agent imports."""
    rows = [Row(kind_of(path), path.stat().st_size / MIB, "MiB") for path in built]
    (wheel,) = (path for path in built if path.suffix == ".whl")
    tree.lay_out(release, wheel, root=folder)
    packages = tree.packages(release, folder)
    needed = agent_needs(packages)
    agents = [each for each in environment.distributions(packages) if each.name in needed]
    rows.append(Row("installed, as it was unpacked", size(folder) / MIB, "MiB"))
    rows.append(Row("of that, what an agent imports", sum(map(size_of, agents)) / MIB, "MiB"))
    compiler = shutil.which(f"python{release.python}", path="/usr/bin") or sys.executable
    subprocess.run([compiler, "-m", "compileall", "-q", str(packages)], check=True, stdout=subprocess.DEVNULL)
    return [*rows, Row("installed, compiled", size(folder) / MIB, "MiB")]


def kind_of(path: Path) -> str:
    """Return what a file of a release is called in the table."""
    return {".whl": "wheel", ".deb": ".deb"}.get(path.suffix, "tarball" if "linux" in path.name else "sdist")


def size(folder: Path) -> int:
    """Return the bytes of every file below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def size_of(distribution: Distribution) -> int:
    """Return the bytes of every file of a package."""
    return sum(file.size or 0 for file in distribution.files or ())


def agent_needs(packages: Path) -> set[str]:
    """Return the packages that the agent's code imports, and those that these need in turn, with fleetmend itself."""
    owner = {module: each for each in environment.distributions(packages) for module in modules(each)}
    by_name = {licences.normal(each.name): each for each in owner.values()}
    wanted = {licences.normal(owner[module].name) for module in imported() if module in owner}
    while more := {name for each in wanted for name in required(by_name[each]) if name in by_name} - wanted:
        wanted |= more
    return {by_name[name].name for name in wanted} | {"fleetmend"}


def modules(distribution: Distribution) -> set[str]:
    """Return the names by which a package is imported."""
    return {
        Path(file.parts[0]).name.partition(".")[0] for file in distribution.files or () if file.suffix in {".py", ".so"}
    }


def required(distribution: Distribution) -> Iterator[str]:
    """Yield the packages that a package needs, without its extras."""
    for line in distribution.requires or ():
        if "extra ==" not in line and (name := re.match(r"[A-Za-z0-9._-]+", line)):
            yield licences.normal(name[0])


def imported() -> Iterator[str]:
    """Yield the top of every module that the agent's code names."""
    for folder in AGENT_FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.partition(".")[0]


if __name__ == "__main__":
    main()
