"""What leaves this checkout: import names that are ours alone, a wheel that is whole, units that systemd accepts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from cli.broker import configuration, find_mosquitto
from cli.version import told
from controller.manual import documents
from scripts.packing import tarball, tree, uv
from scripts.packing.release import Release
from tests.support.checkout import ROOT, checked_in
from tests.support.parts import missing

RELEASE = Release(version=importlib.metadata.version("fleetmend"), epoch_s=1_600_000_000)
OUR_NAMES = ("agent", "checks", "cli", "controller", "playbooks", "wire")
DAEMONS = ("fleetmend-agent", "fleetmend-controller")
BROKER = "fleetmend-broker"
LIMITS = "fleetmend-broker-limits"
BACKUP = "fleetmend-backup"
RENEW = "fleetmend-renew"
OURS = [ROOT / "systemd" / f"{name}.service" for name in DAEMONS]
UNITS = [*OURS, ROOT / "systemd" / f"{BROKER}.service"]
HOLD = "fleetmend-hold"
FOLLOWS = sorted(path for path in (ROOT / "systemd").iterdir() if path.suffix in {".path", ".target", ".timer"})
INSTALLED_IN = "/opt/fleetmend/venv/bin"


@pytest.mark.parametrize("name", OUR_NAMES)
def test_a_generic_import_name_belongs_to_nobody_else(name: str) -> None:
    owners = set(importlib.metadata.packages_distributions().get(name, []))
    assert owners <= {"fleetmend"}, f"{name} is also brought by {', '.join(sorted(owners))}"


def test_fleetmend_is_installed_in_this_environment() -> None:
    assert importlib.metadata.version("fleetmend")
    scripts = {script.name for script in importlib.metadata.entry_points(group="console_scripts", module="cli.main")}
    assert {"fleetmend"} == scripts


def test_it_cannot_be_uploaded_by_mistake() -> None:
    assert "Private :: Do Not Upload" in importlib.metadata.metadata("fleetmend").get_all("Classifier", [])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist as a release does; return the folder."""
    folder = tmp_path_factory.mktemp("built")
    uv.build(RELEASE, into=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_the_same_source_elsewhere_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Built from the sdist that was built: another folder, other dates, other rights, no git."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (elsewhere,) = tmp_path.iterdir()
    for number, path in enumerate(elsewhere.rglob("*")):
        path.chmod(path.stat().st_mode | 0o020)
        os.utime(path, (number, number))
    again = tmp_path / "again"
    uv.build(RELEASE, into=again, root=elsewhere)
    names = sorted(path.name for path in built.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert len(names) == 2
    sums = [[sha256((folder / name).read_bytes()).hexdigest() for name in names] for folder in (built, again)]
    assert sums[0] == sums[1]


def test_a_wheel_says_its_commit(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        file = Path(archive.extract("cli/commit", tmp_path))
    commit = _run(["git", "-c", "safe.directory=*", "-C", str(ROOT), "rev-parse", "HEAD"]).stdout
    said = re.fullmatch(r"(\S+) \(commit ([0-9a-f]{12})(\+changed)?\)", told(file))
    assert said is not None
    assert (said[1], said[2]) == (importlib.metadata.version("fleetmend"), commit[:12])
    assert told(tmp_path / "none") == said[1]


def test_the_wheel_holds_every_file_of_our_packages(wheel: Path) -> None:
    expected = set(checked_in(*OUR_NAMES))
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert set() == expected - held
    assert any(name.startswith("playbooks/") and name.endswith(".yaml") for name in held)
    assert any(name.startswith("checks/data/") and name.endswith(".json") for name in held)


def test_the_wheel_holds_every_document_that_the_controller_serves(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {f"controller/{name}" for name in documents()} <= held


def test_the_wheel_holds_every_unit_that_setup_installs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {f"cli/{name}" for name in checked_in("systemd")} <= held


def test_the_wheel_brings_no_tests_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top_level = {name.split("/", maxsplit=1)[0] for name in names}
    assert set(OUR_NAMES) == {name for name in top_level if not name.endswith(".dist-info")}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def _rpm(folder: Path, release: Release, *more: str) -> Path:
    """Build an rpm as people do, with an environment of one link; another has more files in the same folder."""
    if shutil.which("rpmbuild") is None:
        missing("rpmbuild")
    programs = folder / "root" / "opt" / "fleetmend" / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python3").symlink_to("/usr/bin/python3.11")
    for name in more:
        (programs / name).touch()
    tree.add_around(folder / "root")
    (folder / "root" / tree.DOCUMENTS).mkdir(parents=True)
    packed = tarball.build(release, folder / "root", into=folder)
    built = _run(["rpmbuild", "-tb", f"--define=_topdir {folder}/rpm", str(packed)])
    assert built.returncode == 0, built.stderr
    (package,) = (folder / "rpm").glob("RPMS/x86_64/fleetmend-*.rpm")
    return package


def test_rpmbuild_takes_the_tarball(tmp_path: Path) -> None:
    package = _rpm(tmp_path, RELEASE)
    asked = _run(["rpm", "-qp", "--requires", "--list", "--scripts", str(package)]).stdout.splitlines()
    wanted = {"python3.11", "systemd >= 251", "/usr/bin/fleetmend", "/opt/fleetmend/venv/bin/python3"}
    wanted |= {
        f"/usr/lib/systemd/system/{name}" for name in [*(unit.name for unit in [*UNITS, *FOLLOWS]), f"{LIMITS}.service"]
    }
    wanted.add("/usr/share/fleetmend/systemd/fleetmend-broker.nft")
    assert wanted - set(asked) == set()
    steps = [line.rpartition("package-step ")[2].removesuffix("; fi") for line in asked if "package-step " in line]
    assert steps == ["halt", "prepare", "end", "resume"]


def test_removing_the_package_stops_every_unit_of_it() -> None:
    """One that is left running over files that are gone is a failed unit afterwards."""
    text = (ROOT / "package" / "package-step").read_text()
    stopped = set(re.findall(r"fleetmend-[a-z-]+\.(?:service|timer|path)", text))
    brought = {path.name for path in (ROOT / "systemd").iterdir() if path.suffix in {".service", ".timer", ".path"}}
    assert stopped == brought


def test_an_rpm_is_installed_upgraded_and_removed_whole(tmp_path: Path) -> None:
    """Into a folder, without its scripts: those want a host, and are the .deb's, which tests/systemd runs on one."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = _rpm(tmp_path / "old", RELEASE, "left-out-later")
    new = _rpm(tmp_path / "new", replace(RELEASE, version="99.0.0"), "new-one")
    image = tmp_path / "image"

    def rpm(*arguments: str) -> str:
        done = _run(["rpm", "--root", str(image), *arguments])
        assert done.returncode == 0, done.stderr
        return done.stdout

    image.mkdir()
    rpm("--initdb")
    rpm("--install", "--nodeps", "--noscripts", str(old))
    programs = image / "opt" / "fleetmend" / "venv" / "bin"
    assert rpm("--verify", "--nodeps", "fleetmend") == ""
    assert (image / "usr/bin/fleetmend").readlink() == Path("/opt/fleetmend/venv/bin/fleetmend")
    rpm("--upgrade", "--nodeps", "--noscripts", str(new))
    assert rpm("--query", "fleetmend").startswith("fleetmend-99.0.0-")
    assert {path.name for path in programs.iterdir()} == {"python3", "new-one"}
    assert rpm("--verify", "--nodeps", "fleetmend") == ""
    rpm("--erase", "--nodeps", "--noscripts", "fleetmend")
    left = {path.relative_to(image).parts[0] for path in image.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert left <= {"root", "var"}, "rpm's own database"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize(
    ("name", "drop_in"),
    [
        ("fleetmend-agent", ""),
        ("fleetmend-agent", "repairs.conf"),
        ("fleetmend-agent", "benchmarks.conf"),
        ("fleetmend-controller", ""),
        ("fleetmend-broker", ""),
        ("fleetmend-broker-limits", ""),
        ("fleetmend-backup", ""),
        ("fleetmend-renew", ""),
    ],
)
def test_systemd_accepts_the_unit_without_a_word(name: str, drop_in: str, tmp_path: Path) -> None:
    """`verify` exits 0 even on a key it does not know, so any word about the unit is a failure."""
    unit = ROOT / "systemd" / f"{name}.service"
    installed = tmp_path / unit.name
    text = unit.read_text().replace(INSTALLED_IN, str(Path(sys.executable).parent))
    installed.write_text(text.replace("/usr/sbin/mosquitto", str(find_mosquitto())))
    if drop_in:
        folder = tmp_path / f"{unit.name}.d"
        folder.mkdir()
        (folder / drop_in).write_text((ROOT / "systemd" / drop_in).read_text())
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False, timeout=60
    )
    about_us = [line for line in verified.stderr.splitlines() if "fleetmend" in line or str(tmp_path) in line]
    assert about_us == []
    assert verified.returncode == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_accepts_what_follows_a_hold_without_a_word(tmp_path: Path) -> None:
    service, program = tmp_path / f"{HOLD}.service", tmp_path / HOLD
    text = (ROOT / "systemd" / service.name).read_text()
    service.write_text(text.replace(f"/usr/lib/fleetmend/{HOLD}", str(program)))
    shutil.copy(ROOT / "systemd" / HOLD, program)
    for unit in FOLLOWS:
        shutil.copy(unit, tmp_path)
    names = [str(tmp_path / unit.name) for unit in (service, *FOLLOWS)]
    verified = _run(["systemd-analyze", "verify", *names])
    about_us = [line for line in verified.stderr.splitlines() if "fleetmend" in line or str(tmp_path) in line]
    assert (verified.returncode, about_us) == (0, [])


def test_every_service_is_a_daemon_or_follows_a_hold() -> None:
    assert {unit.stem for unit in (ROOT / "systemd").glob("*.service")} == {
        *DAEMONS,
        BROKER,
        LIMITS,
        BACKUP,
        RENEW,
        HOLD,
    }
    targets = {"fleetmend-held.target", "fleetmend-in-service.target"}
    assert {unit.name for unit in FOLLOWS} == {
        *targets,
        f"{HOLD}.path",
        f"{HOLD}.timer",
        f"{BACKUP}.timer",
        f"{RENEW}.timer",
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize(
    ("name", "drop_in", "at_most"),
    [
        ("fleetmend-controller", "", 2.5),
        ("fleetmend-broker", "", 2.5),
        ("fleetmend-broker-limits", "", 2.5),
        ("fleetmend-hold", "", 2.5),
        ("fleetmend-backup", "", 2.5),
        ("fleetmend-renew", "", 2.5),
        ("fleetmend-agent", "", 4.5),
        ("fleetmend-agent", "benchmarks.conf", 4.5),
        # It is root, loads the driver and reboots.
        ("fleetmend-agent", "repairs.conf", 4.8),
    ],
)
def test_a_unit_is_exposed_no_more_than_it_has_to_be(name: str, drop_in: str, at_most: float, tmp_path: Path) -> None:
    unit = tmp_path / f"{name}.service"
    shutil.copy(ROOT / "systemd" / unit.name, unit)
    if drop_in:
        (tmp_path / f"{unit.name}.d").mkdir()
        shutil.copy(ROOT / "systemd" / drop_in, tmp_path / f"{unit.name}.d" / drop_in)
    judged = _run(["systemd-analyze", "security", "--offline=true", f"--threshold={at_most * 10:.0f}", str(unit)])
    assert judged.returncode == 0, judged.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("name", [*DAEMONS, BROKER, LIMITS, BACKUP, RENEW, HOLD])
def test_whatever_a_unit_leaves_open_it_says_why(name: str) -> None:
    unit = ROOT / "systemd" / f"{name}.service"
    judged = _run(["systemd-analyze", "security", "--offline=true", "--json=short", str(unit)])
    exposed = {each["name"].removesuffix("=") for each in json.loads(judged.stdout) if each["exposure"]}
    assert {directive for directive in exposed if not _is_explained(directive, unit.read_text())} == set()


def _is_explained(directive: str, text: str) -> bool:
    """Return whether a comment names the directive, or stands right above it."""
    name, _, part = directive.partition("=~")
    names = {*name.removesuffix("=").split("=/"), part}
    comments = [line for line in text.splitlines() if line.startswith("#")]
    is_named = any(re.search(rf"\b{re.escape(each)}\b", line) for each in names if each for line in comments)
    return is_named or re.search(rf"^#.*\n{re.escape(name)}=", text, re.MULTILINE) is not None


def test_the_broker_keeps_what_the_one_of_a_single_machine_keeps(tmp_path: Path) -> None:
    """Both go by the same measurements: only where things lie, who is let in and how it logs may differ."""
    lines = (ROOT / "systemd" / "fleetmend-broker.conf").read_text().splitlines()
    installed = {line for line in lines if line and not line.startswith("#")}
    measured = re.compile(r"(persist|autosave|max_|message_size|set_tcp|allow_anonymous|connection_messages)")
    single = set(configuration(tmp_path, 1883).splitlines())
    kept = {line for line in single if measured.match(line) and not line.startswith("persistence_location")}
    assert kept - installed == set()


@pytest.mark.parametrize("unit", OURS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_console_script_that_exists(unit: Path) -> None:
    started = re.search(
        rf"^ExecStart={INSTALLED_IN}/(\S+) --config /etc/fleetmend/\S+$", unit.read_text(), re.MULTILINE
    )
    assert started is not None
    assert started[1] in {script.name for script in importlib.metadata.entry_points(group="console_scripts")}


@pytest.mark.parametrize("unit", OURS, ids=lambda unit: unit.stem)
def test_a_broken_configuration_is_not_retried(unit: Path) -> None:
    assert re.search(r"^RestartPreventExitStatus=78$", unit.read_text(), re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not here")
def test_every_unit_runs_as_a_user_that_sysusers_makes(tmp_path: Path) -> None:
    file = ROOT / "systemd" / "fleetmend.sysusers.conf"
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", "-"],
        input=file.read_text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    made_users = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    wanted = {name for unit in UNITS for name in re.findall(r"^User=(\S+)$", unit.read_text(), re.MULTILINE)}
    assert made_users == wanted
