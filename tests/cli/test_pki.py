"""`fleetmend pki`: an authority is made, issues, revokes and is followed by another, all on the command line."""

from __future__ import annotations

import json
import re
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from agent.settings import load_settings
from cli.exit_codes import ExitCode
from controller.settings import load
from tests.cli.conftest import run_cli
from tests.support.checkout import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an authority."""
    made = tmp_path / "pki"
    told = own(made, "init")
    assert "fingerprint SHA256:" in told
    return made


@pytest.fixture
def output(tmp_path: Path) -> Path:
    made = tmp_path / "agent"
    made.mkdir(mode=0o700)
    return made


def own(folder: Path, *arguments: str) -> str:
    told = run_cli("pki", *arguments, "--pki", str(folder))
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout


def refused(folder: Path, *arguments: str) -> tuple[int, str]:
    told = run_cli("pki", *arguments, "--pki", str(folder))
    assert told.stdout == ""
    return told.returncode, told.stderr


def test_a_node_is_given_what_it_needs_and_nobody_else_can_read_its_key(folder: Path, output: Path) -> None:
    told = own(folder, "issue", "gpu-017", "--output", str(output), "--days", "30")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in output.iterdir()}
    assert modes == {"certificate.pem": 0o644, "key.pem": 0o600, "ca.pem": 0o644}
    context = ssl.create_default_context(cafile=output / "ca.pem")
    context.load_cert_chain(output / "certificate.pem", output / "key.pem")
    (row,) = json.loads(own(folder, "show", "--json"))["certificates"]
    assert (row["name"], row["kind"], row["state"]) == ("gpu-017", "agent", "good")
    assert f"gpu-017, serial {row['serial']}, until" in told


@pytest.mark.parametrize(
    ("name", "more", "kind"),
    [
        ("broker", ["--host", "mq.example.org"], "broker"),
        ("controller", [], "controller"),
        ("ana@example.org", [], "client"),
    ],
)
def test_a_name_says_what_its_certificate_is_for(
    folder: Path, output: Path, name: str, more: list[str], kind: str
) -> None:
    own(folder, "issue", name, "--output", str(output), *more)
    (row,) = json.loads(own(folder, "show", "--json"))["certificates"]
    assert row["kind"] == kind


def test_a_request_made_elsewhere_is_signed_without_a_key(folder: Path, output: Path, tmp_path: Path) -> None:
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    request = tmp_path / "node.csr"
    subprocess.run([*command, "-subj", "/CN=whoever", "-keyout", tmp_path / "key.pem", "-out", request], check=True)
    own(folder, "issue", "gpu-017", "--csr", str(request), "--output", str(output))
    assert sorted(file.name for file in output.iterdir()) == ["ca.pem", "certificate.pem"]
    ssl.create_default_context().load_cert_chain(output / "certificate.pem", tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("arguments", "code", "because"),
    [
        (["init"], ExitCode.CONFIG, "has a certificate authority already"),
        (["issue", "no/name", "--output", "."], ExitCode.CONFIG, "is not a node's name"),
        (["issue", "broker", "--output", "."], ExitCode.CONFIG, "needs the hosts"),
        (["issue", "n1", "--output", "nowhere"], ExitCode.USAGE, "does not exist"),
        (["issue", "n1", "--output", ".", "--csr", "README.md"], ExitCode.CONFIG, "no certificate request"),
        (["revoke", "n1"], ExitCode.NO, "no good certificate of the name or serial 'n1'"),
        (["rotate", "switch"], ExitCode.REFUSED_NOW, "prepare one first"),
        (["rotate", "retire"], ExitCode.REFUSED_NOW, "nothing to retire"),
        (["broker-config", "--cell", "a/b"], ExitCode.USAGE, "is not letters"),
    ],
)
def test_what_cannot_be_done_is_told(folder: Path, arguments: list[str], code: ExitCode, because: str) -> None:
    got, told = refused(folder, *arguments)
    assert because in " ".join(told.split())
    assert got == code


def test_without_an_authority_the_way_to_one_is_told(tmp_path: Path) -> None:
    code, told = refused(tmp_path, "show")
    assert code == ExitCode.CONFIG
    assert "`fleetmend pki init`" in told


def test_a_revoked_certificate_is_shown_as_such(folder: Path, output: Path) -> None:
    own(folder, "issue", "gpu-017", "--output", str(output))
    assert "revoked: gpu-017" in own(folder, "revoke", "gpu-017")
    assert json.loads(own(folder, "show", "--json"))["certificates"] == []
    (row,) = json.loads(own(folder, "show", "--json", "--all"))["certificates"]
    assert row["state"] == "revoked"
    assert "No certificate." in own(folder, "show")


def test_an_authority_is_followed_by_another_and_nobody_is_shut_out_unasked(folder: Path, output: Path) -> None:
    own(folder, "issue", "gpu-017", "--output", str(output))
    assert "is to follow" in own(folder, "rotate", "prepare")
    assert (folder / "ca.pem").read_text().count("BEGIN CERTIFICATE") == 2
    assert "signs from now on" in own(folder, "rotate", "switch")
    code, told = refused(folder, "rotate", "retire")
    assert (code, "1 name would be shut out: gpu-017" in told) == (ExitCode.REFUSED_NOW, True)
    own(folder, "issue", "gpu-017", "--output", str(output))
    assert "is trusted no more" in own(folder, "rotate", "retire")
    assert len(json.loads(own(folder, "show", "--json"))["authorities"]) == 1


def test_what_the_broker_is_told_is_printed_or_written(folder: Path, tmp_path: Path) -> None:
    printed = own(folder, "broker-config", "--folder", "/etc/broker", "--port", "9883")
    assert f"crlfile {folder}/crl.pem\n" in printed
    assert "pattern read fleetmend/v1/main/node/%u/order\n" in printed
    own(folder, "broker-config", "--output", str(tmp_path), "--trust", "/etc/broker", "--cell", "west")
    assert "cafile /etc/broker/ca.pem\n" in (tmp_path / "tls.conf").read_text()
    assert "fleetmend/v1/west/node/%u/event" in (tmp_path / "acl").read_text()


def test_the_settings_that_certificates_md_shows_are_those_that_the_commands_write_for(
    folder: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "how-to" / "certificates.md").read_text()
    for name in ("controller", "gpu-017"):
        kind = "agent" if name == "gpu-017" else name
        assert f"fleetmend pki issue {name} --output /etc/fleetmend/{kind}" in page
        (tmp_path / kind).mkdir()
        own(folder, "issue", name, "--output", str(tmp_path / kind))
    for_controller, for_agent = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "controller.toml").write_text(f'state = "{tmp_path}"\n{_here(for_controller, tmp_path)}')
    (tmp_path / "agent.toml").write_text(f'node = "gpu-017"\n{_here(for_agent, tmp_path)}')
    for files in (load(tmp_path / "controller.toml").broker.tls(), load_settings(tmp_path / "agent.toml").broker.tls()):
        assert files.context().get_ca_certs() != []
        assert files.known_life() is not None


def _here(settings: str, directory: Path) -> str:
    return settings.replace("/etc/fleetmend", str(directory))
