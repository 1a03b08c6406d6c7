"""A whole cell as systemd runs it: broker, controller and agent by their units, secrets as credentials, an upgrade."""

from __future__ import annotations

import signal
from typing import Final

import pytest

from cli.broker import CONTROLLER
from tests.support.booted import COMMAND_LIMIT_S, OPT_FOLDER, Booted, Installed
from tests.support.checkout import ROOT
from tests.support.documents.blocks import blocks_of
from tests.support.documents.places import InContainer
from tests.support.documents.running import Walk
from tests.support.installed_cell import (
    AGENT,
    AGENT_CONFIG,
    BROKER,
    CANARY,
    CONTROLLER_CONFIG,
    CONTROLLING,
    NODE,
    SETTINGS,
    configure,
    found,
    know,
    opened,
)

KINDS: Final = {".service", ".path", ".target", ".timer"}
QUICK: Final = "[Service]\nWatchdogSec=6\nRestartSec=100ms\n"


@pytest.fixture(scope="module")
def cell(machine: Booted) -> Booted:
    """Install what docs/how-to/install.md says, with a node that the broker does not know yet, and start it."""
    Walk("docs/how-to/install.md", __file__).next("install -m 644 systemd/fleetmend.sysusers", InContainer(machine))
    machine.bring("nft")
    configure(machine, CONTROLLER)
    machine.write(f"/etc/systemd/system/{AGENT}.service.d/quick.conf", QUICK)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", BROKER, CONTROLLING, AGENT)
    return machine


def test_systemd_has_no_word_to_say_about_any_unit(cell: Booted) -> None:
    names = [file.name for file in (ROOT / "systemd").iterdir() if file.suffix in KINDS]
    cell.write("/usr/lib/fleetmend/fleetmend-hold", (ROOT / "systemd" / "fleetmend-hold").read_text(), mode=0o755)
    verified = cell.ended("systemd-analyze", "verify", "--man=no", *names)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", [BROKER, CONTROLLING, AGENT])
def test_each_is_up_as_a_user_of_its_own(cell: Booted, unit: str) -> None:
    owner = cell.run("stat", "--format=%U", f"/proc/{cell.main_process(unit)}").strip()
    shown = [cell.show(unit, key) for key in ("ActiveState", "Type", "NRestarts", "User")]
    assert [owner, *shown] == [owner, "active", "notify", "0", owner]
    assert owner != "root"


def test_the_agent_reads_the_kernel_log_as_a_user_of_its_own(cell: Booted) -> None:
    """Nobody else may where the kernel restricts it, as on most distributions."""
    assert "agent.started" in cell.said(AGENT)
    assert "the kernel log cannot be read" not in cell.said(AGENT)
    assert "kernel_log.interrupted" not in cell.said(AGENT)
    restricted = cell.path("/proc/sys/kernel/dmesg_restrict").read_text().strip() == "1"
    opened = cell.ended("setpriv", "--reuid=65534", "sh", "-c", ": </dev/kmsg")
    assert (opened.returncode != 0) == restricted


def test_limits_hold_and_give_way_where_the_node_benchmarks(cell: Booted) -> None:
    keys = ("MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight", "LimitCORE")
    assert [str(256 << 20), "64", "1s", "20", "0"] == [cell.show(AGENT, key) for key in keys]
    after = set(cell.show(AGENT, "After").split())
    assert {f"{each}.service" for each in ("nvidia-persistenced", "nvidia-fabricmanager", "openibd")} <= after
    assert "network-online.target" in after
    drop_in = f"/etc/systemd/system/{AGENT}.service.d/benchmarks.conf"
    cell.write(drop_in, (ROOT / "systemd" / "benchmarks.conf").read_text())
    cell.run("systemctl", "daemon-reload")
    assert [str(64 << 30), "8192", "infinity", "[not set]", "0"] == [cell.show(AGENT, key) for key in keys]
    cell.path(drop_in).unlink()
    cell.run("systemctl", "daemon-reload")


def test_a_reload_of_the_broker_lets_a_new_node_in(cell: Booted) -> None:
    cell.until(lambda: "not authorised" in cell.said(BROKER))
    assert cell.answer("nodes") == [] or NODE not in str(cell.answer("nodes"))
    broker = cell.main_process(BROKER)
    know(cell, CONTROLLER, NODE)
    cell.run("systemctl", "reload", BROKER)
    cell.until(lambda: NODE in str(cell.answer("nodes")), limit_s=60)
    assert cell.main_process(BROKER) == broker


def test_a_reload_of_the_agent_changes_whom_it_obeys(cell: Booted) -> None:
    agent = cell.main_process(AGENT)
    told = SETTINGS[AGENT_CONFIG]
    cell.write(AGENT_CONFIG, f'orders_allowed = ["collect"]\nstatus_interval_s = 30\n{told}')
    cell.run("systemctl", "reload", AGENT)
    cell.until(lambda: "read anew" in cell.show(AGENT, "StatusText"))
    assert cell.show(AGENT, "StatusText") == "The settings were read anew; these wait for a restart: status_interval_s."
    cell.write(AGENT_CONFIG, f'orders_allowed = ["explode"]\n{told}')
    cell.run("systemctl", "reload", AGENT)
    cell.until(lambda: "refused" in cell.show(AGENT, "StatusText"))
    assert "explode" in cell.said(AGENT)
    assert (cell.main_process(AGENT), cell.show(AGENT, "ActiveState")) == (agent, "active")
    cell.write(AGENT_CONFIG, told)


def test_an_upgrade_loses_no_finding(cell: Booted) -> None:
    """The agent of before found it, with the broker away; the agent of after never saw it, and tells of it."""
    cell.run("systemctl", "stop", BROKER)
    cell.write("/run/warm", "")
    cell.until(lambda: "the water is warm" in cell.said(AGENT))
    installed = Installed(cell.folder / OPT_FOLDER)
    installed.install("2.0")
    installed.use("2.0")
    cell.run("systemctl", "stop", AGENT)
    cell.path("/run/warm").unlink()
    assert opened(cell) == []
    cell.run("systemctl", "start", BROKER, AGENT)
    cell.until(lambda: opened(cell), limit_s=60)
    assert '"version": "2.0"' in cell.said(AGENT)
    assert found(cell) == ["the water is warm"]


def test_an_upgrade_of_the_controller_goes_on_with_what_was_open_and_so_does_the_way_back(cell: Booted) -> None:
    page, place = Walk("docs/how-to/upgrade.md", __file__), InContainer(cell)
    before = opened(cell)
    for begins in ("fleetmend-controller --config", "systemctl stop fleetmend-controller", "systemctl restart"):
        page.next(begins, place)
        assert opened(cell) == before
    page.next("systemctl stop fleetmend-controller", place)
    assert (opened(cell), page.left, len(before)) == (before, [], 1)
    cell.path("/var/backups/fleetmend/before").unlink()


def test_settings_are_checked_and_read_anew_and_the_signing_key_is_rotated(cell: Booted) -> None:
    page, place = Walk("docs/how-to/install.md", __file__), InContainer(cell)
    page.text("install -m 644 systemd/fleetmend.sysusers")
    page.next("/opt/fleetmend/venv/bin/fleetmend-controller", place)
    page.next("systemctl restart fleetmend-agent", place)
    keys = Walk("docs/how-to/rotate-the-signing-key.md", __file__)
    keys.next("sudo -u fleetmend fleetmend keys show", place)
    keys.next("sudo -u fleetmend fleetmend keys rotate", place)
    assert (page.left, keys.left) == ([], [])


def test_the_event_log_is_backed_up_while_the_controller_goes_on(cell: Booted) -> None:
    page, place = Walk("docs/how-to/back-up-and-restore.md", __file__), InContainer(cell)
    page.next("install -m 644 systemd/fleetmend-backup.service", place)
    cell.run("systemctl", "start", "fleetmend-backup.service")
    assert cell.show("fleetmend-backup.service", "Result") == "success"
    (name,) = cell.run("ls", "/var/backups/fleetmend").split()
    assert name.startswith("fleetmend-main-")
    assert cell.run("stat", "--format=%U %a", f"/var/backups/fleetmend/{name}") == "fleetmend 600\n"
    page.next("systemctl stop fleetmend-controller", place)
    assert (len(opened(cell)), page.left) == (1, [])


def test_an_agent_that_hangs_is_ended_and_started_anew(cell: Booted) -> None:
    hanging = cell.send(AGENT, signal.SIGSTOP)
    cell.until(lambda: "Watchdog timeout" in cell.said(AGENT))
    cell.replaced(AGENT, hanging)


def test_a_node_is_held_by_hand_where_no_scheduler_is(cell: Booted) -> None:
    page, place = Walk("docs/how-to/no-scheduler.md", __file__), InContainer(cell)
    cell.write(CONTROLLER_CONFIG, SETTINGS[CONTROLLER_CONFIG] + page.text("# controller.toml"))
    cell.write(AGENT_CONFIG, page.text("# agent.toml") + SETTINGS[AGENT_CONFIG])
    cell.run("systemctl", "restart", CONTROLLING)
    page.next("install -D", place)
    cell.until(lambda: cell.show("fleetmend-in-service.target", "ActiveState") == "active")
    (looks,) = (each.text for each in blocks_of("docs/how-to/no-scheduler.md") if each.text.startswith("for flag"))
    page.next("for flag", place)
    page.next("echo", place)
    assert place.run(looks, limit_s=COMMAND_LIMIT_S).returncode == 1
    cell.until(lambda: cell.show("fleetmend-held.target", "ActiveState") == "active")
    cell.until(lambda: cell.answer(f"nodes/{NODE}")["foreign_reason"] == "anna: memory test until Friday", limit_s=60)
    assert page.left == []
    cell.path("/run/fleetmend/held-by-anna").unlink()
    cell.until(lambda: not cell.answer(f"nodes/{NODE}")["foreign_reason"], limit_s=60)
    cell.run("systemctl", "disable", "--now", "fleetmend-hold.path", "fleetmend-hold.timer")


@pytest.mark.parametrize(("starter", "is_up"), [("path", "waiting"), ("timer", "waiting")])
def test_a_flag_holds_the_node_and_its_end_gives_it_back(cell: Booted, starter: str, is_up: str) -> None:
    """By the unit in its sandbox; the path unit is quick, the timer misses nothing."""
    unit = f"fleetmend-hold.{starter}"
    cell.write(
        "/etc/systemd/system/fleetmend-hold.timer.d/quick.conf", "[Timer]\nOnUnitInactiveSec=1s\nAccuracySec=1ms\n"
    )
    cell.run("systemctl", "daemon-reload")
    cell.run("systemctl", "start", unit, "fleetmend-hold.service")
    cell.until(lambda: cell.show(unit, "SubState") == is_up)
    assert cell.show("fleetmend-in-service.target", "ActiveState") == "active"
    cell.write("/run/fleetmend/held-by-me", "")
    cell.until(lambda: cell.show("fleetmend-held.target", "ActiveState") == "active")
    cell.until(lambda: cell.show(unit, "SubState") == is_up)
    cell.path("/run/fleetmend/held-by-me").unlink()
    cell.until(lambda: cell.show("fleetmend-in-service.target", "ActiveState") == "active")
    assert cell.show("fleetmend-hold.service", "Result") == "success"
    cell.run("systemctl", "stop", unit)


def test_no_secret_is_told_anywhere(cell: Booted) -> None:
    assert CANARY not in cell.run("journalctl", "--no-pager")
    for unit in (BROKER, CONTROLLING, AGENT):
        process = cell.main_process(unit)
        for file in ("cmdline", "environ"):
            assert CANARY not in cell.run("cat", f"/proc/{process}/{file}")
        assert CANARY not in cell.run("systemctl", "show", unit)
    assert (
        cell.run("stat", "--format=%U %a", f"/run/credentials/{AGENT}.service/secret_broker") == "fleetmend-agent 400\n"
    )
    kept = cell.ended("grep", "-rl", CANARY, "/var/lib", "/run/fleetmend", "/etc")
    assert sorted(kept.stdout.split()) == [f"/etc/fleetmend/credentials/{name}/broker" for name in (AGENT, CONTROLLING)]


def with_certificates(settings: str, folder: str) -> str:
    """Return settings that show the broker a certificate in place of a password."""
    lines = [line for line in settings.splitlines() if "username" not in line and "password_file" not in line]
    files = "".join(
        f'{key} = "/etc/fleetmend/{folder}/{name}.pem"\n'
        for key, name in (("ca_file", "ca"), ("certificate_file", "certificate"), ("key_file", "key"))
    )
    return (
        "\n".join(lines)
        .replace("mqtt://127.0.0.1:1883", "mqtts://127.0.0.1:8883")
        .replace("[broker]\n", f"[broker]\n{files}")
    )


@pytest.fixture(scope="module")
def certificates() -> Walk:
    """docs/how-to/certificates.md, for the tests that follow."""
    return Walk("docs/how-to/certificates.md", __file__)


def test_the_cell_goes_over_to_certificates(cell: Booted, certificates: Walk) -> None:
    for begins in ("fleetmend pki init", "cd /etc/fleetmend/broker", "fleetmend pki issue controller"):
        certificates.next(begins, InContainer(cell))
    for file, text in SETTINGS.items():
        cell.write(file, with_certificates(text, "agent" if file == AGENT_CONFIG else "controller"))
    before = cell.said(AGENT).count("broker.connected")
    cell.run("systemctl", "restart", BROKER, CONTROLLING, AGENT)
    cell.until(lambda: cell.said(AGENT).count("broker.connected") > before, limit_s=60)
    cell.until(lambda: cell.answer("status")["broker_connected"])
    assert cell.answer("status")["certificate"]["days_left"] == pytest.approx(365, abs=1)
    owned = cell.run("stat", "--format=%U %a", "/etc/fleetmend/agent/key.pem", "/etc/fleetmend/controller/key.pem")
    assert owned == "fleetmend-agent 600\nfleetmend 600\n"


def test_a_certificate_is_renewed_while_all_run(cell: Booted, certificates: Walk) -> None:
    processes = [cell.main_process(unit) for unit in (BROKER, CONTROLLING, AGENT)]
    certificates.next("fleetmend pki issue gpu-017", InContainer(cell))
    cell.run("fleetmend", "pki", "issue", "controller", "--output", "/etc/fleetmend/controller")
    cell.until(lambda: all("certificate.renewed" in cell.said(unit) for unit in (AGENT, CONTROLLING)), limit_s=60)
    cell.until(lambda: cell.answer("status")["broker_connected"])
    assert processes == [cell.main_process(unit) for unit in (BROKER, CONTROLLING, AGENT)]


def test_a_node_whose_certificate_is_revoked_is_shut_out(cell: Booted, certificates: Walk) -> None:
    certificates.next("fleetmend pki revoke", InContainer(cell))
    cell.run("systemctl", "restart", AGENT)
    cell.until(lambda: "certificate revoked" in cell.said(AGENT))
    before = cell.said(AGENT).count("broker.connected")
    cell.run("fleetmend", "pki", "issue", NODE, "--output", "/etc/fleetmend/agent")
    cell.until(lambda: cell.said(AGENT).count("broker.connected") > before, limit_s=60)


def test_the_authority_is_followed_by_another(cell: Booted, certificates: Walk) -> None:
    certificates.next("fleetmend pki rotate prepare", InContainer(cell))
    assert certificates.left == []
    before = cell.said(AGENT).count("broker.connected")
    cell.run("systemctl", "restart", AGENT)
    cell.until(lambda: cell.said(AGENT).count("broker.connected") > before, limit_s=60)
    cell.until(lambda: cell.answer("status")["broker_connected"], limit_s=60)


def test_all_stop_in_order(cell: Booted) -> None:
    cell.run("systemctl", "stop", AGENT, CONTROLLING, BROKER)
    ended = {
        unit: (cell.show(unit, "Result"), cell.show(unit, "ExecMainStatus")) for unit in (AGENT, CONTROLLING, BROKER)
    }
    assert ended == dict.fromkeys((AGENT, CONTROLLING, BROKER), ("success", "0"))
    assert "agent.stopped" in cell.said(AGENT)
