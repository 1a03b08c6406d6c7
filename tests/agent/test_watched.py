"""What is judged on a node: fleetmend's checks, the site's folder and packages, and what the settings change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.settings import CheckSettings, Site, Watch
from agent.simulation.machine import SimulatedMachine
from agent.sources.site import SiteSource
from agent.sources.source import Timing
from agent.watched import Watched, watched
from checks.check import LevelCheck
from checks.errors import CannotJudge, CannotObserve
from checks.readings import HostReading
from checks.registry import CHECKS
from checks.site import site_check
from tests.support.surroundings import write_program

MODULE = """
import os, sys, time
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import HostReading

def find(readings):
    return (Finding(ID, "host", "", Verdict.DEGRADED, Action.NONE, "seen"),)

def hang(readings):
    while True:
        pass

def check(check_id, judge=find, reading=HostReading):
    return LevelCheck(check_id, "x", reading, judge, (Outcome("", Verdict.DEGRADED),))

class Other:
    SOURCE = "other"

def hang_for_ever_and_catch(readings):
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass

def count(readings):
    number = 0
    while True:
        number += 1
        yield Finding(ID, "host", str(number), Verdict.DEGRADED, Action.NONE, "seen")

def said(**changed):
    right = {"check": ID, "device": "host", "code": "", "verdict": Verdict.DEGRADED, "action": Action.NONE}
    return check(ID, lambda readings: (Finding(**{**right, "because": "seen", **changed}),))

ID = "site.load"
GOOD = check(ID)
HANGS = check("site.hangs", hang)
MISNAMED = check("site.other")
ALIEN = check("site.alien", reading=Other)
NO_CHECK = "x"
CATCHES = check(ID, hang_for_ever_and_catch)
COUNTS = check(ID, count)
FEW = check(ID, lambda readings: (each for each in find(readings)))
LEAVES = check(ID, lambda readings: sys.exit(3))
NOTHING = check(ID, lambda readings: None)
TEXT = check(ID, lambda readings: ["seen"])
FOREIGN = said(check="gpu.xid")
DEVICELESS = said(device=None)
BAD_VERDICT = said(verdict="bad")
ALL_WELL = said(verdict=Verdict.OK)
DOUBTS = said(verdict=Verdict.UNKNOWN, action=Action.REBOOT)
NO_THRESHOLDS = LevelCheck(ID, "x", HostReading, find, (), thresholds=None)
NO_OUTCOMES = LevelCheck(ID, "x", HostReading, find, ("",))

def probe():
    return [Finding("site.probe", "host", "few", Verdict.FAILED, Action.REBOOT, "probed", serial="s")]

def wrong():
    return 5

def chatters():
    print("looking")
    return probe()

def generates():
    yield from probe()

def leaves():
    os._exit(0)

def leaves_in_order():
    sys.exit(0)

def breaks():
    raise OSError("no seat")
"""


def watch(tmp_path: Path, **checks: CheckSettings) -> Watch:
    site = Site(folder=tmp_path / "checks.d", interval_s=60, fast_interval_s=10, deadline_s=5)
    return Watch(node="n1", site=site, checks={name.replace("__", "."): each for name, each in checks.items()})


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str) -> None:
    """Install a site's package, as an installer leaves it."""
    (tmp_path / "acme_checks.py").write_text(MODULE)
    metadata = tmp_path / "acme_checks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def ours(seen: Watched) -> list[str]:
    """Return the ids of what the site added, after all of fleetmend's."""
    assert seen.checks[: len(CHECKS)] == CHECKS
    return [check.id for check in seen.checks[len(CHECKS) :]]


def refusals(seen: Watched) -> dict[str, str]:
    return {program.name: program.why_not() for program in seen.programs}


def test_without_a_folder_fleetmends_checks_are_all(tmp_path: Path) -> None:
    assert watched(watch(tmp_path)) == Watched(CHECKS, ())


def test_each_executable_is_a_check_and_its_source(tmp_path: Path) -> None:
    folder = tmp_path / "checks.d"
    for name in ("licence.sh", "home-quota", ".hidden", "licence.sh~", "old.rpmsave", "README.sh"):
        write_program(folder, name, "exit 0")
    (folder / "data.json").write_text("{}")
    (folder / "lib").mkdir()
    seen = watched(watch(tmp_path))
    assert ours(seen) == ["site.home_quota", "site.licence"]
    assert [(each.name, each.command, each.timing, each.why_not()) for each in seen.programs] == [
        ("site.home_quota", (f"{folder}/home-quota",), Timing(60, 10, 5), ""),
        ("site.licence", (f"{folder}/licence.sh",), Timing(60, 10, 5), ""),
    ]


def test_what_others_could_change_is_not_run(tmp_path: Path) -> None:
    program = write_program(tmp_path / "checks.d", "licence", "exit 0")
    program.chmod(0o775)
    assert refusals(watched(watch(tmp_path))) == {
        "site.licence": f"{program} can be changed by others: chmod go-w {program}"
    }
    program.chmod(0o755)
    program.parent.chmod(0o777)
    assert f"{program.parent} can be changed by others" in refusals(watched(watch(tmp_path)))["site.licence"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_another_user_is_not_run(tmp_path: Path) -> None:
    program = write_program(tmp_path / "checks.d", "licence", "exit 0")
    os.chown(program, 4242, 4242)
    assert "belongs to user 4242, and not to root or to the agent" in refusals(watched(watch(tmp_path)))["site.licence"]


def test_a_script_that_was_forgotten_to_be_made_executable_is_said(tmp_path: Path) -> None:
    program = write_program(tmp_path / "checks.d", "licence", "exit 0")
    program.chmod(0o644)
    assert refusals(watched(watch(tmp_path))) == {
        "site.licence": f"{program} is not executable for the agent: chmod a+x {program}"
    }


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "checks.d"
    loop.symlink_to(loop)
    seen = watched(watch(tmp_path))
    assert ours(seen) == ["site.folder"]
    assert refusals(seen) == {"site.folder": f"{loop} cannot be read: Too many levels of symbolic links"}


def test_two_of_one_name_are_both_refused(tmp_path: Path) -> None:
    for name in ("licence.sh", "licence.py"):
        write_program(tmp_path / "checks.d", name, "exit 0")
    seen = watched(watch(tmp_path))
    assert ours(seen) == ["site.licence"]
    assert refusals(seen) == {"site.licence": "2 programs or packages are called site.licence: rename all but one"}


def test_a_name_that_cannot_be_a_checks_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_program(tmp_path / "checks.d", "10_licence", "exit 0")
    assert ours(watched(watch(tmp_path))) == []
    assert "'site.10_licence' is not like" in capsys.readouterr().out


def test_settings_change_a_check_a_programs_time_and_switch_off(tmp_path: Path) -> None:
    for name in ("licence", "quota"):
        write_program(tmp_path / "checks.d", name, "exit 0")
    settings = {
        "gpu__throttle": CheckSettings(raise_after=9, clear_after=4),
        "gpu__xid": CheckSettings(enabled=False),
        "site__licence": CheckSettings(raise_after=1, interval_s=600, deadline_s=30),
        "site__quota": CheckSettings(enabled=False),
    }
    seen = watched(watch(tmp_path, **settings))
    by_id = {check.id: check for check in seen.checks}
    throttle, licence = by_id["gpu.throttle"], by_id["site.licence"]
    assert isinstance(throttle, LevelCheck)
    assert isinstance(licence, LevelCheck)
    assert (throttle.policy.raise_after, throttle.policy.clear_after) == (9, 4)
    assert (licence.policy.raise_after, licence.policy.clear_after) == (1, 1)
    assert by_id.keys() == {check.id for check in CHECKS} - {"gpu.xid"} | {"site.licence"}
    assert [(program.name, program.timing) for program in seen.programs] == [("site.licence", Timing(600, 10, 30))]


def test_a_simulated_machine_has_a_folder_of_its_own(tmp_path: Path) -> None:
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=1.0)
    write_program(tmp_path / "checks.d", "hosts_own", "exit 0")
    inside = machine.directory / (tmp_path / "checks.d").relative_to("/")
    write_program(inside, "its_own", "exit 0")
    site = Site(folder=tmp_path / "checks.d")
    assert ours(watched(Watch(node="n1", site=site, simulation_directory=machine.directory))) == ["site.its_own"]


def test_a_packages_check_is_judged_like_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "[fleetmend.checks]\nsite.load = acme_checks:GOOD\n")
    seen = watched(watch(tmp_path))
    (check,) = seen.checks[len(CHECKS) :]
    assert isinstance(check, LevelCheck)
    assert (check.id, check.source, seen.programs) == ("site.load", HostReading.SOURCE, ())
    assert [finding.because for finding in check.judge([HostReading(1.0)])] == ["seen"]


def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, name: str = "site.load") -> LevelCheck:
    install(tmp_path, monkeypatch, f"[fleetmend.checks]\n{name} = acme_checks:{value}\n")
    (check,) = watched(watch(tmp_path)).checks[len(CHECKS) :]
    assert isinstance(check, LevelCheck)
    return check


@pytest.mark.parametrize(("name", "value"), [("site.hangs", "HANGS"), ("site.load", "CATCHES")])
def test_a_packages_check_that_never_ends_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    check = packaged(tmp_path, monkeypatch, value, name)
    with pytest.raises(TimeoutError, match=r"did not end within 1 s"):
        check.judge([HostReading(1.0)])


def test_a_generator_of_a_packages_check_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(packaged(tmp_path, monkeypatch, "FEW").judge([HostReading(1.0)])) == 1


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ("COUNTS", "returned more than 256 findings"),
        ("NOTHING", "returned None, and not findings"),
        ("TEXT", "returned 'seen' among its findings"),
        ("FOREIGN", "returned a finding of the check 'gpu.xid'"),
        ("DEVICELESS", r"Expected `str`, got `null` - at `\$.device`"),
        ("BAD_VERDICT", r"Invalid enum value 'bad' - at `\$.verdict`"),
        ("ALL_WELL", "what is ok is left out"),
        ("DOUBTS", "is unknown and asks for reboot"),
    ],
)
def test_a_packages_check_is_believed_only_what_a_check_may_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, because: str
) -> None:
    check = packaged(tmp_path, monkeypatch, value)
    with pytest.raises(CannotJudge, match=because):
        check.judge([HostReading(1.0)])


def test_a_packages_check_cannot_end_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = packaged(tmp_path, monkeypatch, "LEAVES")
    with pytest.raises(RuntimeError, match=r"would end the whole agent: sys\.exit\(3\)"):
        check.judge([HostReading(1.0)])


@pytest.mark.parametrize(
    ("name", "value", "because"),
    [
        ("site.load", "acme_checks:NO_CHECK", "is 'x', and not a LevelCheck or a LatchedCheck"),
        ("site.load", "acme_checks:MISNAMED", "is the check 'site.other': entry point and check have one name"),
        ("site.alien", "acme_checks:ALIEN", "judges Other, which no source of the agent takes"),
        ("site.load", "acme_checks:NO_THRESHOLDS", "has thresholds None, and a dict is wanted"),
        ("site.load", "acme_checks:NO_OUTCOMES", "has outcomes ('',), and each must be an Outcome"),
        ("site.load", "acme_leaves:CHECK", "cannot be loaded: RuntimeError('it would end the whole agent"),
        ("site.load", "acme_hangs:CHECK", "cannot be loaded: TimeoutError('it did not end within 0.5 s')"),
        ("site.load", "acme_checks:MISSING", "cannot be loaded: AttributeError"),
        ("site.load", "no_such_module:CHECK", "cannot be loaded: ModuleNotFoundError"),
    ],
)
async def test_a_packages_check_that_cannot_be_used_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, because: str
) -> None:
    monkeypatch.setattr("agent.watched.LOAD_LIMIT_S", 0.5)
    (tmp_path / "acme_leaves.py").write_text("import sys\nsys.exit(0)")
    (tmp_path / "acme_hangs.py").write_text("while True:\n    pass")
    install(tmp_path, monkeypatch, f"[fleetmend.checks]\n{name} = {value}\n")
    seen = watched(watch(tmp_path))
    assert ours(seen) == [name]
    (program,) = seen.programs
    with pytest.raises(CannotObserve) as caught:
        await SiteSource(program, monotonic=lambda: 1.0).read()
    assert because in str(caught.value)


async def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> list[tuple[str, str, str]]:
    install(tmp_path, monkeypatch, f"[fleetmend.probes]\nsite.probe = acme_checks:{function}\n")
    (program,) = watched(watch(tmp_path)).programs
    reading = await SiteSource(program, monotonic=lambda: 1.0).read()
    findings = site_check("site.probe").judge([reading])
    return [(finding.code, finding.because, finding.serial) for finding in findings]


@pytest.mark.parametrize("function", ["probe", "chatters", "generates"])
async def test_a_packages_function_is_run_as_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    assert await answered(tmp_path, monkeypatch, function) == [("few", "probed", "s")]


@pytest.mark.parametrize(
    ("function", "because"),
    [
        ("wrong", "ended with code 1 and told no findings .*site.probe returned 5"),
        ("breaks", "ended with code 1 and told no findings .*OSError: no seat"),
        ("leaves", "ended with code 0 and told no findings"),
        ("leaves_in_order", "ended with code 0 and told no findings"),
    ],
)
async def test_a_packages_function_that_breaks_has_found_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, because: str
) -> None:
    with pytest.raises(CannotObserve, match=because):
        await answered(tmp_path, monkeypatch, function)
