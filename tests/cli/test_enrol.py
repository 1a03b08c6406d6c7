"""`fleetmend enrol` on a host, against a controller over TLS."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from cli.ports import free_port
from controller import keys
from controller.pki import certificates
from controller.pki.authority import Authority, utc_now
from controller.pki.certificates import Kind
from controller.pki.requests import new_request
from tests.cli.conftest import run_cli
from tests.support.enrolling_site import NOWHERE, HostFiles, Site, running_site

SITES_OWN = """\
# of our own
node = "old-name"
orders_allowed = ["collect"]   # no more

[broker]
url = "mqtt://old.example"
username = "old-name"
password_file = "/nowhere"

[places]
rack = "r12"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for all that follows; every test has a node of its own."""
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def host(site: Site, tmp_path: Path) -> HostFiles:
    """A host that was just set up."""
    return HostFiles(tmp_path / "etc", site)


def table_of(host: HostFiles) -> dict[str, Any]:
    return tomllib.loads(host.config.read_text())


def certificate_of(host: HostFiles) -> certificates.Described:
    return certificates.describe(certificates.from_pem((host.folder / "certificate.pem").read_bytes())[0])


def test_a_host_gets_its_identity_and_is_told_what_is_next(site: Site, host: HostFiles) -> None:
    done = host.enrol(site.token("--node", "gpu-1"), "gpu-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "gpu-1 of the cell main is enrolled until" in done.stdout
    assert "systemctl enable --now fleetmend-agent fleetmend-renew.timer" in done.stdout
    assert sorted(host.files()) == ["agent.toml", "agent/ca.pem", "agent/certificate.pem", "agent/key.pem"]
    modes = {name: (host.folder / name).stat().st_mode & 0o777 for name in ("key.pem", "certificate.pem", "ca.pem")}
    assert modes == {"key.pem": 0o600, "certificate.pem": 0o644, "ca.pem": 0o644}
    assert host.folder.stat().st_mode & 0o777 == 0o700
    key = keys.load(site.folder / "state" / "signing-key.pem")
    assert table_of(host) == {
        "node": "gpu-1",
        "broker": {
            "url": NOWHERE,
            "ca_file": str(host.folder / "ca.pem"),
            "certificate_file": str(host.folder / "certificate.pem"),
            "key_file": str(host.folder / "key.pem"),
        },
        "enrolment": {"controllers": [site.url], "ca_file": str(host.folder / "ca.pem")},
        "trusted_keys": {keys.key_id(key): {"public_key": keys.public_text(key)}},
    }
    assert certificate_of(host).kind is Kind.AGENT
    private = (host.folder / "key.pem").read_text().splitlines()[1]
    everywhere = [file.read_bytes() for file in site.folder.rglob("*") if file.is_file()]
    assert not any(private.encode() in content for content in everywhere)


def test_settings_that_are_there_are_left_alone_and_the_token_with_them(site: Site, host: HostFiles) -> None:
    token = site.token("--node", "gpu-2")
    host.etc.mkdir()
    host.config.write_text(SITES_OWN)
    done = host.enrol(token, "gpu-2")
    assert (done.returncode, host.files()) == (ExitCode.NO_OUTPUT, {"agent.toml": SITES_OWN.encode()})
    assert "--keep-settings" in done.stderr and "--force" in done.stderr
    assert host.enrol(token, "gpu-2", "--keep-settings").returncode == 0
    kept = host.config.read_text()
    assert "# of our own" in kept and 'orders_allowed = ["collect"]   # no more' in kept
    table = table_of(host)
    assert (table["node"], table["places"]) == ("gpu-2", {"rack": "r12"})
    assert sorted(table["broker"]) == ["ca_file", "certificate_file", "key_file", "url"]
    again = host.enrol(site.token("--node", "gpu-2", "--replace"), "gpu-2", "--force")
    assert (again.returncode, "places" in table_of(host)) == (0, False), again.stderr


def test_settings_that_are_no_toml_stop_it_before_anybody_is_asked(site: Site, host: HostFiles) -> None:
    host.etc.mkdir()
    host.config.write_text("node =")
    done = host.enrol(site.token("--node", "gpu-3"), "gpu-3", "--keep-settings")
    assert (done.returncode, str(host.config) in done.stderr) == (ExitCode.CONFIG, True)
    assert not host.folder.exists()


def test_a_controller_with_another_authority_learns_nothing(site: Site, host: HostFiles, tmp_path: Path) -> None:
    token = site.token("--node", "gpu-4")
    before = site.told()
    wrong = f"SHA256:{'ab' * 32}"
    done = host.enrol(token, "gpu-4", "--ca-fingerprint", wrong)
    assert (done.returncode, site.fingerprint in done.stderr) == (ExitCode.FORBIDDEN, True)
    Authority.found(tmp_path / "theirs", now=utc_now())
    done = host.enrol(token, "gpu-4", "--ca-file", str(tmp_path / "theirs" / "ca.pem"))
    assert (done.returncode, "cannot be believed" in done.stderr) == (ExitCode.UNREACHABLE, True)
    assert site.told() == before
    done = host.enrol(token, "gpu-4", "--ca-file", str(site.folder / "pki" / "ca.pem"))
    assert (done.returncode, done.stderr) == (0, "")
    assert table_of(host)["enrolment"]["ca_file"] == str(host.folder / "controller-ca.pem")
    assert host.renew("--force").returncode == 0


def test_the_token_may_come_by_standard_input(site: Site, host: HostFiles) -> None:
    token = site.token("--nodes", "gpu-5,gpu-6")
    assert host.enrol(Path("-"), "gpu-5", stdin=token.read_text()).returncode == 0
    done = host.enrol(Path("-"), "gpu-6", "--force", stdin="")
    assert (done.returncode, "standard input" in done.stderr) == (ExitCode.NO_INPUT, True)


def test_a_host_that_could_not_write_what_it_got_asks_again_with_the_same_key(site: Site, host: HostFiles) -> None:
    token = site.token("--node", "gpu-7")
    host.etc.mkdir()
    (host.etc / "file").write_text("")
    lost = HostFiles(host.etc, site)
    done = lost.enrol(token, "gpu-7", "--config", str(host.etc / "file" / "agent.toml"))
    assert done.returncode == ExitCode.NO_OUTPUT, done.stderr
    assert (host.folder / "key.pem.coming").exists()
    assert host.enrol(token, "gpu-7").returncode == 0
    assert not (host.folder / "key.pem.coming").exists()
    granted = [each for each in site.told() if each.get("node") == "gpu-7" and "granted" in each["kind"]]
    assert [each["again"] for each in granted] == [False, True]
    other = HostFiles(host.etc / "other", site)
    refused = other.enrol(token, "gpu-7")
    assert (refused.returncode, "used up" in refused.stderr) == (ExitCode.FORBIDDEN, True)


def test_when_no_controller_answers_nothing_is_changed_and_the_next_one_is_asked(site: Site, host: HostFiles) -> None:
    token, nobody = site.token("--node", "gpu-8"), f"https://127.0.0.1:{free_port()}"
    done = host.enrol(token, "gpu-8", url=nobody)
    assert (done.returncode, done.stdout) == (ExitCode.UNREACHABLE, "")
    assert f"no controller answers at {nobody}" in done.stderr
    assert "run the same again" in done.stderr and "fleetmend up" not in done.stderr
    assert [name for name in host.files() if not name.endswith(".coming")] == []
    assert host.enrol(token, "gpu-8", "--controller", site.url, url=nobody).returncode == 0
    assert table_of(host)["enrolment"]["controllers"] == [nobody, site.url]


def test_two_at_once_on_a_host_do_not_mix_their_keys(site: Site, host: HostFiles) -> None:
    host.folder.mkdir(parents=True)
    descriptor = os.open(host.folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    done = host.enrol(site.token("--node", "gpu-9"), "gpu-9")
    os.close(descriptor)
    assert (done.returncode, "another fleetmend enrol" in done.stderr) == (ExitCode.REFUSED_NOW, True)


def test_a_certificate_is_renewed_when_a_third_is_left(site: Site, host: HostFiles) -> None:
    assert host.enrol(site.token("--node", "gpu-10"), "gpu-10").returncode == 0
    early = host.renew()
    assert (early.returncode, "it is renewed from" in early.stdout) == (0, True)
    before = _aged(site, host, days=21)
    key = (host.folder / "key.pem").read_bytes()
    done = host.renew()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert (host.folder / "key.pem").read_bytes() != key
    assert stat.S_IMODE((host.folder / "key.pem").stat().st_mode) == 0o600
    assert sorted(file.name for file in host.folder.iterdir()) == ["ca.pem", "certificate.pem", "key.pem"]
    after = certificate_of(host)
    assert after.serial != before.serial and after.expires_at > before.expires_at
    assert "it is renewed from" in host.renew().stdout
    assert certificate_of(host) == after


def _aged(site: Site, host: HostFiles, *, days: int) -> certificates.Described:
    """Have the host's certificate be one that is so old."""
    node = certificate_of(host).common_name
    key = certificates.key_from_pem((host.folder / "key.pem").read_bytes())
    request = new_request(key, node)
    then = utc_now() - timedelta(days=days)
    chain = site.authority.sign(request, common_name=node, kind=Kind.AGENT, days=30, now=then)
    (host.folder / "certificate.pem").write_bytes(chain)
    return certificate_of(host)


def test_renewals_that_are_refused_leave_what_was_there(site: Site, host: HostFiles) -> None:
    assert host.enrol(site.token("--node", "gpu-11"), "gpu-11").returncode == 0
    _aged(site, host, days=31)
    expired = host.renew()
    assert (expired.returncode, "expired at" in expired.stderr) == (ExitCode.FORBIDDEN, True)
    _aged(site, host, days=29)
    site.authority.revoke("gpu-11", now=utc_now())
    before = host.files()
    revoked = host.renew()
    assert (revoked.returncode, "was revoked" in revoked.stderr) == (ExitCode.FORBIDDEN, True)
    assert "enrol token make --replace" in revoked.stderr
    assert host.files() == before


def test_a_renewal_that_nobody_answers_says_so_and_is_left_to_the_timer(site: Site, host: HostFiles) -> None:
    assert host.enrol(site.token("--node", "gpu-12"), "gpu-12").returncode == 0
    text = host.config.read_text().replace(site.url, f"https://127.0.0.1:{free_port()}")
    host.config.write_text(text)
    before = host.files()
    done = host.renew("--force")
    assert (done.returncode, "the timer tries again" in done.stderr) == (ExitCode.UNREACHABLE, True)
    assert host.files() == before


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "was this host enrolled?"),
        ('[enrolment]\ncontrollers = ["http://far.example"]', "is not https://"),
        ('[enrolment]\ncontroller = "https://a"', "no such key"),
        ("node =", "not TOML"),
    ],
)
def test_settings_by_which_nothing_can_be_renewed(site: Site, tmp_path: Path, text: str, because: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    done = HostFiles(tmp_path, site).renew()
    assert (done.returncode, because in done.stderr, str(file) in done.stderr) == (ExitCode.CONFIG, True, True)


def test_tokens_are_listed_without_what_opens_anything_and_revoked(site: Site, host: HostFiles) -> None:
    file = site.token("--nodes", "pool-*", "--uses", "3", "--hours", "2")
    text = file.read_text().strip()
    listed = run_cli("enrol", "token", "list", "--json", "--config", str(site.config))
    assert text not in listed.stdout
    (row,) = [each for each in json.loads(listed.stdout) if each["nodes"] == "pool-*"]
    assert (row["uses"], row["replace"], row["good"], row["id"]) == (3, False, True, text.split("_")[1])
    assert row["made_by"]
    gone = run_cli("enrol", "token", "revoke", row["id"], "--config", str(site.config))
    assert (gone.returncode, gone.stdout) == (0, f"revoked: {row['id']}\n")
    refused = host.enrol(file, "pool-1")
    assert (refused.returncode, "was revoked" in refused.stderr) == (ExitCode.FORBIDDEN, True)
    assert "revoked" in run_cli("enrol", "token", "list", "--config", str(site.config)).stdout
    unknown = run_cli("enrol", "token", "revoke", "00000000", "--config", str(site.config))
    assert unknown.returncode == ExitCode.NO


def test_no_token_and_no_key_is_told_anywhere(site: Site, host: HostFiles) -> None:
    token = site.token("--node", "gpu-13")
    secret = token.read_text().strip().rpartition("_")[2]
    outputs = [host.enrol(token, "gpu-13"), HostFiles(host.etc / "other", site).enrol(token, "gpu-13")]
    assert [done.returncode for done in outputs] == [0, ExitCode.FORBIDDEN]
    private = (host.folder / "key.pem").read_text().splitlines()[1]
    assert site.process is not None
    told = [done.stdout + done.stderr for done in outputs]
    files = [file for file in site.folder.rglob("*") if file.is_file() and file != token]
    process = [Path(f"/proc/{site.process.pid}/{name}") for name in ("cmdline", "environ")]
    told += [file.read_bytes().decode("latin-1") for file in (*files, *process)]
    assert "used up, by gpu-13" in "".join(told), "the log that is looked at has the attempts"
    assert [each for each in told if secret in each or private in each] == []


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ((), "give one of --node or --nodes"),
        (("--node", "a", "--nodes", "b"), "give one of --node or --nodes"),
        (("--node", "controller"), "own part"),
        (("--nodes", "gpu-*"), "give --uses"),
        (("--nodes", "gpu[1-3]*"), "not both"),
        (("--node", "a", "--hours", "9999"), "720"),
    ],
)
def test_tokens_that_are_not_made(site: Site, options: tuple[str, ...], because: str) -> None:
    done = run_cli("enrol", "token", "make", *options, "--config", str(site.config))
    assert (done.returncode, because in done.stderr, done.stdout) == (ExitCode.USAGE, True, "")


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ((), "--controller"),
        (("--controller", "http://far.example"), "https://"),
        (("--controller", "https://a", "--ca-fingerprint", "SHA256:00"), "64 hexadecimal digits"),
        (("--controller", "https://a"), "--token-file"),
        (("--controller", "https://a", "--token-file", "x", "--node", "broker"), "own part"),
    ],
)
def test_command_lines_that_are_wrong(options: tuple[str, ...], because: str) -> None:
    done = run_cli("enrol", *options)
    assert (done.returncode, because in done.stderr) == (ExitCode.USAGE, True)
