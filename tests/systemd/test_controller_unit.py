"""The controller as systemd runs it: ready when it serves, ended when it hangs, read anew and stopped in order."""

from __future__ import annotations

import signal
from typing import Final

import pytest

from tests.support.booted import Booted

UNIT: Final = "fleetmend-controller"
CONFIG: Final = "/etc/fleetmend/controller.toml"
DROP_IN: Final = f"/etc/systemd/system/{UNIT}.service.d/quick.conf"
QUICK: Final = "[Service]\nWatchdogSec=5\nRestartSec=100ms\n"


def config(*, percent: int = 5, more: str = "") -> str:
    """Return settings of a controller without a broker: one that waits for it is as alive as any other."""
    return (
        f'state = "/var/lib/fleetmend"\n{more}\n[broker]\nurl = "mqtt://127.0.0.1:1"\n[budget]\npercent = {percent}\n'
    )


@pytest.fixture(scope="module")
def started(machine: Booted) -> Booted:
    """Start it once for all that follows: a start takes as long as all of a test."""
    machine.write(CONFIG, config())
    machine.write(DROP_IN, QUICK)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT)
    return machine


def test_it_is_ready_when_it_serves(started: Booted) -> None:
    assert started.answer("status")["role"] == "leader"
    assert started.show(UNIT, "StatusText") == "Leads the cell main, term 1."
    assert (started.show(UNIT, "ActiveState"), started.show(UNIT, "NotifyAccess")) == ("active", "main")


def test_a_reload_takes_other_budgets_over(started: Booted) -> None:
    before, process = started.answer("budgets"), started.main_process(UNIT)
    started.write(CONFIG, config(percent=20, more='cell = "other"'))
    started.run("systemctl", "reload", UNIT)
    started.until(lambda: "read anew" in started.show(UNIT, "StatusText"))
    assert started.answer("budgets") != before
    assert started.main_process(UNIT) == process
    assert started.show(UNIT, "StatusText") == "The settings were read anew; these wait for a restart: cell."
    assert "rules.loaded" in started.said(UNIT)
    assert started.show(UNIT, "ActiveState") == "active"


def test_files_that_are_wrong_are_refused_and_change_nothing(started: Booted) -> None:
    before, process = started.answer("budgets"), started.main_process(UNIT)
    started.write(CONFIG, config(percent=200))
    started.run("systemctl", "reload", UNIT)
    started.until(lambda: "refused" in started.show(UNIT, "StatusText"))
    assert f"{CONFIG}: budget.percent" in started.said(UNIT)
    assert started.answer("status")["settings_error"].startswith(f"{CONFIG}: budget.percent")
    assert (started.answer("budgets"), started.main_process(UNIT)) == (before, process)
    started.write(CONFIG, config())
    started.run("systemctl", "reload", UNIT)
    started.until(lambda: started.answer("status")["settings_error"] == "")


def test_one_that_idles_is_left_alone(started: Booted) -> None:
    """For twice the watchdog's time it had little to do but to be alive."""
    began = float(started.show(UNIT, "ActiveEnterTimestampMonotonic"))
    started.until(lambda: float(started.show(UNIT, "WatchdogTimestampMonotonic")) > began + 10e6)
    assert started.show(UNIT, "NRestarts") == "0"


def test_one_that_hangs_is_ended_and_started_anew(started: Booted) -> None:
    hanging = started.send(UNIT, signal.SIGSTOP)
    started.until(lambda: "Watchdog timeout" in started.said(UNIT))
    started.replaced(UNIT, hanging)
    assert "Fatal Python error: Aborted" in started.said(UNIT)
    assert started.answer("status")["role"] == "leader"


def test_one_that_is_killed_comes_back_with_its_log(started: Booted) -> None:
    started.replaced(UNIT, started.send(UNIT, signal.SIGKILL))
    assert started.answer("status")["role"] == "leader"


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
