"""The controller as systemd runs it: ready when it serves, ended when it hangs, read anew and stopped in order."""

from __future__ import annotations

import json
import signal
from typing import Any, Final

import pytest

from tests.support.booted import Booted

UNIT: Final = "fleetmend-controller"
CONFIG: Final = "/etc/fleetmend/controller.toml"
DROP_IN: Final = f"/etc/systemd/system/{UNIT}.service.d/quick.conf"
QUICK: Final = "[Service]\nWatchdogSec=5\nRestartSec=100ms\n"
ASK: Final = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


def config(*, percent: int = 5, more: str = "") -> str:
    """Return settings of a controller without a broker: one that waits for it is as alive as any other."""
    return (
        f'state = "/var/lib/fleetmend"\n{more}\n[broker]\nurl = "mqtt://127.0.0.1:1"\n[budget]\npercent = {percent}\n'
    )


def asked(machine: Booted, path: str) -> Any:
    """Return what the controller answers."""
    return json.loads(machine.run("python3", "-c", ASK, f"http://127.0.0.1:8642/api/v1/{path}"))


def main_process(machine: Booted) -> int:
    """Return its number as the container counts; never 0, which would be whoever sends it a signal."""
    number = int(machine.show(UNIT, "MainPID"))
    assert number > 1, machine.said(UNIT)
    return number


def is_new(machine: Booted, before: int) -> None:
    """Wait until another process has taken the place of this one, and is ready."""
    shown = ("systemctl", "show", "--value", "--property=MainPID", "--property=ActiveState", UNIT)
    machine.until(
        lambda: (told := machine.run(*shown).split())[1] == "active" and told[0] not in {"0", str(before)},
        limit_s=60,
    )


def send(machine: Booted, number: signal.Signals) -> None:
    machine.run("kill", f"-{number.name.removeprefix('SIG')}", str(main_process(machine)))


@pytest.fixture(scope="module")
def started(machine: Booted) -> Booted:
    """Start it once for all that follows: a start takes as long as all of a test."""
    machine.write(CONFIG, config())
    machine.write(DROP_IN, QUICK)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT)
    return machine


def test_it_is_ready_when_it_serves(started: Booted) -> None:
    assert asked(started, "status")["role"] == "leader"
    assert started.show(UNIT, "StatusText") == "Leads the cell main, term 1."
    assert (started.show(UNIT, "ActiveState"), started.show(UNIT, "NotifyAccess")) == ("active", "main")


def test_a_reload_takes_other_budgets_over(started: Booted) -> None:
    before, process = asked(started, "budgets"), main_process(started)
    started.write(CONFIG, config(percent=20, more='cell = "other"'))
    started.run("systemctl", "reload", UNIT)
    started.until(lambda: "read anew" in started.show(UNIT, "StatusText"))
    assert asked(started, "budgets") != before
    assert main_process(started) == process
    assert started.show(UNIT, "StatusText") == "The settings were read anew; these wait for a restart: cell."
    assert "rules.loaded" in started.said(UNIT)
    assert started.show(UNIT, "ActiveState") == "active"


def test_files_that_are_wrong_are_refused_and_change_nothing(started: Booted) -> None:
    before, process = asked(started, "budgets"), main_process(started)
    started.write(CONFIG, config(percent=200))
    started.run("systemctl", "reload", UNIT)
    started.until(lambda: "refused" in started.show(UNIT, "StatusText"))
    assert f"{CONFIG}: budget.percent" in started.said(UNIT)
    assert asked(started, "status")["settings_error"].startswith(f"{CONFIG}: budget.percent")
    assert (asked(started, "budgets"), main_process(started)) == (before, process)
    started.write(CONFIG, config())
    started.run("systemctl", "reload", UNIT)
    started.until(lambda: asked(started, "status")["settings_error"] == "")


def test_one_that_idles_is_left_alone(started: Booted) -> None:
    """For twice the watchdog's time it had little to do but to be alive."""
    began = float(started.show(UNIT, "ActiveEnterTimestampMonotonic"))
    started.until(lambda: float(started.show(UNIT, "WatchdogTimestampMonotonic")) > began + 10e6)
    assert started.show(UNIT, "NRestarts") == "0"


def test_one_that_hangs_is_ended_and_started_anew(started: Booted) -> None:
    hanging = main_process(started)
    send(started, signal.SIGSTOP)
    started.until(lambda: "Watchdog timeout" in started.said(UNIT))
    is_new(started, hanging)
    assert "Fatal Python error: Aborted" in started.said(UNIT)
    assert asked(started, "status")["role"] == "leader"


def test_one_that_is_killed_comes_back_with_its_log(started: Booted) -> None:
    killed = main_process(started)
    send(started, signal.SIGKILL)
    is_new(started, killed)
    assert asked(started, "status")["role"] == "leader"


def test_it_stops_in_order_and_leaves_nothing_running(started: Booted) -> None:
    started.run("systemctl", "stop", UNIT)
    assert (started.show(UNIT, "Result"), started.show(UNIT, "ExecMainStatus")) == ("success", "0")
    assert "controller.stopped" in started.said(UNIT).splitlines()[-3]
    assert started.ended("pgrep", "--euid", "fleetmend").returncode == 1


def test_settings_that_are_wrong_are_not_tried_again(started: Booted) -> None:
    started.write(CONFIG, config(percent=200))
    assert started.ended("systemctl", "start", UNIT).returncode == 1
    assert (started.show(UNIT, "ExecMainStatus"), started.show(UNIT, "NRestarts")) == ("78", "0")
    assert started.show(UNIT, "ActiveState") == "failed"
    started.run("systemctl", "reset-failed", UNIT)
