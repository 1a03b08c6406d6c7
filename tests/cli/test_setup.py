"""`fleetmend setup` on the image of a host: what is written, by whom it can be read, and when nothing is."""

from __future__ import annotations

import base64
import fcntl
import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
import tomllib
from pathlib import Path
from typing import Final

import pytest

from cli.broker import find_mosquitto
from cli.exit_codes import ExitCode
from cli.setting_up import shipped
from cli.setting_up.broker import is_password
from controller import keys
from tests.cli.conftest import Result, environment, run_cli
from tests.support.certificates import write_certificate

PASSWORD: Final = "canary-of-the-node"
KEY_ID, KEY = "AAAAAAAAAAAAAAAA", base64.b64encode(bytes(32)).decode()
AGENT: Final = ("setup", "agent", "--yes", "--no-enable", "--node", "gpu-1", "--broker", "mqtt://broker.example:1883")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with nothing but users in it."""
    root = tmp_path / "image"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hostname").write_text("gpu-007\n")
    return root


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


def set_up(image: Path, *arguments: str, stdin: str = "") -> Result:
    return run_cli(*arguments, "--root", str(image), stdin=stdin)


def done(result: Result) -> str:
    assert (result.returncode, result.stderr) == (ExitCode.DONE, ""), result.stdout
    assert PASSWORD not in result.stdout
    return result.stdout


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_agent_has_settings_a_credential_and_units(image: Path, secret: Path) -> None:
    told = done(
        set_up(
            image,
            *(*AGENT, "--password-file", str(secret), "--place", "rack=r1", "--metrics-port", "9400"),
            *("--trusted-key", f"{KEY_ID} {KEY}"),
        )
    )
    settings = tomllib.loads((image / "etc/fleetmend/agent.toml").read_text())
    assert settings == {
        "node": "gpu-1",
        "broker": {
            "url": "mqtt://broker.example:1883",
            "username": "gpu-1",
            "password_file": "/run/credentials/fleetmend-agent.service/secret_broker",
        },
        "metrics": {"port": 9400},
        "places": {"rack": "r1"},
        "trusted_keys": {KEY_ID: {"public_key": KEY}},
    }
    credential = image / "etc/fleetmend/credentials/fleetmend-agent/broker"
    assert (credential.read_text(), mode(credential), mode(credential.parent)) == (f"{PASSWORD}\n", 0o600, 0o700)
    units = image / "etc/systemd/system"
    assert (units / "fleetmend-agent.service").read_text() == shipped.text("fleetmend-agent.service")
    assert (units / "fleetmend-agent.service.d/credentials.conf").is_file()
    assert not (units / "fleetmend-agent.service.d/repairs.conf").exists()
    assert "fleetmend-agent:" in (image / "etc/passwd").read_text()
    assert told.startswith("made      /etc/fleetmend\n")
    assert "Next: boot it." in told


def test_done_twice_the_second_time_changes_nothing(image: Path, secret: Path) -> None:
    arguments = (*AGENT, "--password-file", str(secret))
    done(set_up(image, *arguments))
    before = contents(image)
    assert "\nChanged nothing.\n" in f"\n{done(set_up(image, *arguments))}"
    assert contents(image) == before


def test_what_is_there_and_different_is_shown_and_left(image: Path, secret: Path) -> None:
    arguments = (*AGENT, "--password-file", str(secret))
    done(set_up(image, *arguments))
    before = contents(image)
    refused = set_up(image, *arguments, "--cell", "west")
    assert refused.returncode == ExitCode.NO
    assert '+cell = "west"' in refused.stderr
    assert "/etc/fleetmend/agent.toml: there already, and different; --force writes it anew" in refused.stderr
    assert contents(image) == before
    assert "rewrote   /etc/fleetmend/agent.toml" in done(set_up(image, *arguments, "--cell", "west", "--force"))
    assert tomllib.loads((image / "etc/fleetmend/agent.toml").read_text())["cell"] == "west"


def test_settings_that_are_there_are_kept_when_no_flag_says_otherwise(image: Path) -> None:
    """As `fleetmend enrol` leaves a host: the settings are written, and the units are not there."""
    (image / "etc/fleetmend").mkdir()
    written = 'node = "n"\norders_allowed = ["collect", "reboot"]\n[broker]\nurl = "mqtt://b:1883"\n'
    (image / "etc/fleetmend/agent.toml").write_text(written)
    assert "agent.toml is there and is kept." in done(set_up(image, "setup", "agent", "--yes", "--no-enable"))
    assert (image / "etc/fleetmend/agent.toml").read_text() == written
    assert (image / "etc/systemd/system/fleetmend-agent.service.d/repairs.conf").is_file()


def test_a_host_that_enrolled_renews_its_certificate(image: Path) -> None:
    folder = image / "etc/fleetmend/agent"
    folder.mkdir(parents=True)
    write_certificate(folder, "certificate")
    (folder / "certificate.key").chmod(0o600)
    files = {"certificate_file": "certificate.pem", "key_file": "certificate.key"}
    lines = [f'{key} = "/etc/fleetmend/agent/{name}"' for key, name in files.items()]
    settings = "\n".join(['node = "n"', "[broker]", 'url = "mqtts://b:8883"', *lines])
    (image / "etc/fleetmend/agent.toml").write_text(settings)
    done(set_up(image, "setup", "agent", "--yes", "--enable"))
    units = image / "etc/systemd/system"
    assert (units / "fleetmend-renew.service").is_file()
    assert (units / "timers.target.wants/fleetmend-renew.timer").is_symlink()
    assert (image / "etc/fleetmend/agent.toml").read_text() == settings


def test_a_dry_run_shows_the_difference_and_writes_nothing(image: Path, secret: Path) -> None:
    before = contents(image)
    told = done(set_up(image, *AGENT, "--password-file", str(secret), "--dry-run"))
    assert '+node = "gpu-1"' in told
    assert "(mode 0600; a secret, which is not shown)" in told
    assert told.rstrip().splitlines()[-1].startswith("Would change ")
    assert contents(image) == before


def test_units_that_a_package_brought_are_left(image: Path, secret: Path) -> None:
    brought = image / "usr/lib/systemd/system"
    brought.mkdir(parents=True)
    (brought / "fleetmend-agent.service").write_text("[Service]\nExecStart=/bin/true\n")
    done(set_up(image, *AGENT, "--password-file", str(secret)))
    assert not (image / "etc/systemd/system/fleetmend-agent.service").exists()
    assert (image / "etc/systemd/system/fleetmend-agent.service.d/credentials.conf").is_file()


def test_where_systemd_hands_out_no_folders_the_password_is_the_agents_own(image: Path, secret: Path) -> None:
    (image / "lib/systemd").mkdir(parents=True)
    (image / "lib/systemd/libsystemd-shared-249.so").touch()
    done(set_up(image, *AGENT, "--password-file", str(secret)))
    own = image / "etc/fleetmend/agent/broker.password"
    assert (own.read_text(), mode(own)) == (f"{PASSWORD}\n", 0o400)
    named = tomllib.loads((image / "etc/fleetmend/agent.toml").read_text())["broker"]["password_file"]
    assert named == "/etc/fleetmend/agent/broker.password"
    assert not (image / "etc/systemd/system/fleetmend-agent.service.d").exists()


def test_what_may_be_ordered_brings_the_rights_that_it_needs(image: Path, secret: Path) -> None:
    allowed = ("--allow", "repairs", "--allow", "benchmarks", "--allow", "holds")
    done(set_up(image, *AGENT, "--password-file", str(secret), *allowed))
    orders = tomllib.loads((image / "etc/fleetmend/agent.toml").read_text())["orders_allowed"]
    assert {"run_checks", "collect", "reach", "reboot", "bench", "hold", "release"} <= set(orders)
    units = image / "etc/systemd/system"
    assert sorted(path.name for path in (units / "fleetmend-agent.service.d").iterdir()) == [
        "benchmarks.conf",
        "credentials.conf",
        "repairs.conf",
    ]
    assert (units / "fleetmend-hold.path").is_file()
    assert mode(image / "usr/lib/fleetmend/fleetmend-hold") == 0o755


def test_a_controller_has_its_key_and_a_broker_that_knows_it(image: Path) -> None:
    arguments = ("setup", "controller", "--yes", "--no-enable", "--with-broker", "--scheduler", "slurm")
    told = done(set_up(image, *arguments))
    key = keys.load(image / "var/lib/fleetmend/signing-key.pem")
    assert keys.table_of(key) in told
    assert f"--trusted-key '{keys.line_of(key)}'" in told
    settings = tomllib.loads((image / "etc/fleetmend/controller.toml").read_text())
    assert (settings["scheduler"], settings["budget"]) == ({"kind": "slurm"}, {"percent": 5.0})
    assert settings["modes"] == {"fleet": "ask"}
    assert "Next: every plan waits for `fleetmend approve`" in told
    assert "Next: whoever is on this host may do all" in told
    password = (image / "etc/fleetmend/credentials/fleetmend-controller/broker").read_text().strip()
    (line,) = (image / "etc/fleetmend/broker/passwords").read_text().splitlines()
    assert is_password(password, line.removeprefix("controller:"))
    assert password not in told
    assert mode(image / "etc/fleetmend/broker/acl") == 0o640
    before = contents(image)
    assert "\nChanged nothing.\n" in f"\n{done(set_up(image, *arguments))}"
    assert contents(image) == before


def test_a_controller_may_act_from_the_first_day_where_that_is_asked_for(image: Path) -> None:
    told = done(set_up(image, "setup", "controller", "--yes", "--no-enable", "--with-broker", "--mode", "act"))
    settings = tomllib.loads((image / "etc/fleetmend/controller.toml").read_text())
    assert settings["modes"] == {"fleet": "act"}
    assert "fleetmend approve" not in told


def test_a_broker_with_a_certificate_listens_by_tls(image: Path) -> None:
    files = ("--broker-certificate-file", "/etc/b.pem", "--broker-key-file", "/etc/b.key")
    done(set_up(image, "setup", "controller", "--yes", "--no-enable", "--with-broker", *files))
    lines = (image / "etc/fleetmend/broker/mosquitto.conf").read_text().splitlines()
    at = lines.index("listener 8883")
    assert lines[at : at + 3] == ["listener 8883", "certfile /etc/b.pem", "keyfile /etc/b.key"]
    assert "use_username_as_clientid true" in lines
    assert "listener 1883" not in lines


def test_what_one_node_may_send_is_limited_where_the_broker_listens_and_a_sites_own_limits_stay(image: Path) -> None:
    arguments = ("setup", "controller", "--yes", "--no-enable", "--with-broker", "--broker-listen", "0.0.0.0:2883")
    assert "Next: install nftables" in done(set_up(image, *arguments))
    rules = image / "etc/fleetmend/broker/limits.nft"
    assert "tcp dport != { 1883, 2883, 8883 } accept" in rules.read_text()
    assert (image / "etc/systemd/system/fleetmend-broker-limits.service").is_file()
    (image / "usr/sbin").mkdir(parents=True)
    (image / "usr/sbin/nft").touch(mode=0o755)
    rules.write_text("# ours\n")
    assert "nftables" not in done(set_up(image, *arguments, "--force"))
    assert rules.read_text() == "# ours\n"


def test_the_brokers_own_key_is_closed_to_all_but_its_group(image: Path) -> None:
    key = image / "etc/fleetmend/broker/b.key"
    key.parent.mkdir(parents=True)
    key.write_text("a key of the site's")
    key.chmod(0o600)
    files = ("--broker-certificate-file", "/etc/b.pem", "--broker-key-file", "/etc/fleetmend/broker/b.key")
    (image / "etc/b.pem").write_text("")
    done(set_up(image, "setup", "controller", "--yes", "--no-enable", "--with-broker", *files))
    assert (mode(key), key.read_text()) == (0o640, "a key of the site's")


def test_users_of_the_broker_come_change_and_go(image: Path, secret: Path, tmp_path: Path) -> None:
    users = image / "etc/fleetmend/broker/passwords"
    absent = set_up(image, "setup", "broker-user", "gpu-1", "--password-file", str(secret))
    assert (absent.returncode, "--with-broker sets" not in absent.stderr) == (ExitCode.NO_INPUT, True)
    done(set_up(image, "setup", "controller", "--yes", "--no-enable", "--with-broker"))
    done(set_up(image, "setup", "broker-user", "gpu-1", "--password-file", "-", stdin=PASSWORD))
    first = users.read_text()
    assert is_password(PASSWORD, dict(line.split(":", 1) for line in first.splitlines())["gpu-1"])
    assert done(set_up(image, "setup", "broker-user", "gpu-1", "--password-file", str(secret))) == "Changed nothing.\n"
    assert users.read_text() == first
    done(set_up(image, "setup", "broker-user", "gpu-1", "--remove"))
    assert "gpu-1" not in users.read_text()
    output = "/var/made"
    done(set_up(image, "setup", "broker-user", "gpu-2", "--output", output))
    made = (image / "var/made").read_text().strip()
    assert is_password(made, dict(line.split(":", 1) for line in users.read_text().splitlines())["gpu-2"])
    assert mode(image / "var/made") == 0o600
    assert tmp_path.exists()


WRONG: Final = {
    "a node's name": (("--node", "gpu/1"), "agent.toml: node: 'gpu/1' is not a name"),
    "the controller's name": (("--node", "controller"), "give `node` another name"),
    "a broker's URL": (("--broker", "http://broker"), "agent.toml: broker.url: broker url 'http://broker' is not"),
    "a place": (("--place", "job=1"), "agent.toml: places: 'job' cannot be set"),
    "no key": (("--trusted-key", "# signs"), "give a line as `fleetmend keys show` prints it"),
    "a key": (("--trusted-key", "AAAA BBBB"), "give a line as `fleetmend keys show` prints it"),
    "a CA": (("--ca-file", "/nowhere.pem"), "agent.toml: broker.ca_file: cannot read /nowhere.pem"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(what: str, image: Path, secret: Path) -> None:
    more, sentence = WRONG[what]
    before = contents(image)
    refused = set_up(image, *AGENT, "--password-file", str(secret), *more)
    assert (refused.returncode, contents(image)) == (ExitCode.CONFIG, before)
    assert sentence in refused.stderr


def test_no_broker_no_settings(image: Path) -> None:
    refused = set_up(image, "setup", "agent", "--yes")
    assert refused.returncode == ExitCode.USAGE
    assert "--broker mqtts://HOST:8883" in refused.stderr


def test_settings_without_their_password_are_not_left_behind(image: Path) -> None:
    before = set(contents(image))
    refused = set_up(image, *AGENT)
    assert refused.returncode == ExitCode.CONFIG
    assert "broker.password_file: cannot read" in refused.stderr
    assert "nothing was changed" in refused.stderr
    left = {name for name in set(contents(image)) - before if not name.startswith(("etc/passwd", "etc/group", "etc/"))}
    assert left == set()
    assert not (image / "etc/fleetmend").exists()


def test_all_is_taken_back_when_one_file_cannot_be_written(image: Path, secret: Path) -> None:
    """The drop-in's folder is a file: units and settings were written by then."""
    (image / "etc/systemd/system").mkdir(parents=True)
    (image / "etc/systemd/system/fleetmend-agent.service.d").write_text("in the way\n")
    refused = set_up(image, *AGENT, "--password-file", str(secret))
    assert refused.returncode == ExitCode.NO_OUTPUT
    assert "nothing was changed" in refused.stderr
    assert not (image / "etc/fleetmend").exists()
    assert not (image / "etc/systemd/system/fleetmend-agent.service").exists()


def test_an_unreachable_broker_is_said_before_anything_is_written(secret: Path) -> None:
    """On this very host, where it is tried; it comes to no writing."""
    tried = ("setup", "agent", "--yes", "--node", "n", "--broker", "mqtt://127.0.0.1:1", "--password-file", str(secret))
    refused = run_cli(*tried)
    assert refused.returncode == ExitCode.UNREACHABLE
    assert "no broker answers at 127.0.0.1:1: connection refused; nothing was changed" in refused.stderr
    assert not Path("/etc/fleetmend/agent.toml").exists()


def test_a_person_at_a_terminal_is_asked(image: Path) -> None:
    """Every question has what the image says, or nothing, as its answer."""
    answers = ["", "mqtt://broker.example:1883", "", PASSWORD, "", ""]
    code, shown = at_terminal([*AGENT[:2], "--root", str(image), "--no-enable"], answers)
    assert code == 0, shown
    assert "This is gpu-007: no GPU" in shown
    assert "What does the scheduler call this host? [gpu-007]:" in shown
    assert PASSWORD not in shown
    assert tomllib.loads((image / "etc/fleetmend/agent.toml").read_text())["node"] == "gpu-007"


def at_terminal(arguments: list[str], answers: list[str]) -> tuple[int, str]:
    """Run `fleetmend` at a terminal of its own and type an answer whenever it waits; return code and screen."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=environment(COLUMNS="200"),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(inside)
    shown, ends_at_s = "", time.monotonic() + 60
    while time.monotonic() < ends_at_s and select.select([terminal], [], [], 30)[0]:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:
            break
        if shown.endswith(": ") and answers:
            os.write(terminal, f"{answers.pop(0)}\n".encode())
    os.close(terminal)
    return process.wait(10), shown


def test_mosquitto_takes_the_file_of_users(image: Path, secret: Path, tmp_path: Path) -> None:
    """By its own program, which would say that a line is none of its own."""
    done(set_up(image, "setup", "controller", "--yes", "--no-enable", "--with-broker"))
    done(set_up(image, "setup", "broker-user", "gpu-1", "--password-file", str(secret)))
    users = tmp_path / "passwords"
    users.write_bytes((image / "etc/fleetmend/broker/passwords").read_bytes())
    program = find_mosquitto().parent.parent / "bin/mosquitto_passwd"
    if not program.exists():
        pytest.skip("mosquitto_passwd is not here")
    removed = subprocess.run([program, "-D", users, "gpu-1"], capture_output=True, text=True, check=False, timeout=10)
    assert removed.returncode == 0, removed.stderr
    assert users.read_text().startswith("controller:$7$")
