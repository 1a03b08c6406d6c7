"""The agent's configuration: what a file may say, and that every problem is reported at once."""

from __future__ import annotations

import base64
import os
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.settings import Settings, SettingsError, load_settings
from agent.sources.redfish_access import RedfishAccess
from agent.sources.source import Timing
from tests.support.certificates import write_certificate
from wire.orders import OrderAction

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
TEXT = base64.b64encode(KEY.public_bytes_raw()).decode()
PAIR = 'certificate_file = "{0}/n1.pem"\nkey_file = "{0}/n1.key"\n'
LEAST = '[broker]\nurl = "mqtt://127.0.0.1:1883"\n'


def load(directory: Path, text: str) -> Settings:
    path = directory / "agent.toml"
    path.write_text(text)
    return load_settings(path)


def problems(directory: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(directory, text)
    return [line.removeprefix(f"{directory}/agent.toml: ") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("address", ["127.1", "n1 n2", "$(id)", "n1:22"])
def test_an_address_that_is_not_one_host_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(SettingsError, match="neither a host name nor an IP address"):
        load(tmp_path, f'address = "{address}"\n{LEAST}')


def test_a_broker_is_all_that_must_be_said(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST)
    assert socket.gethostname() == settings.node
    assert settings.cell == "main"
    assert {OrderAction.RUN_CHECKS, OrderAction.COLLECT, OrderAction.REACH} == settings.orders_allowed
    assert not settings.kernel_log.accept_userspace_records
    assert settings.simulation_directory is None
    assert settings.broker.password_file is None


def test_one_file_does_for_many_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is called as its environment says, and so is its user at the broker."""
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("FLEETMEND_NODE", "gpu-017")
    settings = load(tmp_path, f'{LEAST}\npassword_file = "{tmp_path}/password"')
    assert (settings.node, settings.username) == ("gpu-017", "gpu-017")
    assert load(tmp_path, f'node = "n1"\n{LEAST}\nusername = "u1"').username == "u1"
    assert load(tmp_path, LEAST).username == ""
    monkeypatch.setenv("FLEETMEND_NODE", "controller")
    assert "node: 'controller' is how the cell's own part is called" in problems(tmp_path, LEAST)[0]


def test_everything_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "key.pem").write_bytes(KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    settings = load(
        tmp_path,
        f"""
        node = "n1"
        cell = "east-1"
        state_directory = "{tmp_path}/state"
        simulation_directory = "{tmp_path}/machine"
        status_interval_s = 5
        orders_allowed = ["reboot"]
        [broker]
        url = "mqtts://broker.example:8883?v=3"
        username = "n1"
        password_file = "{tmp_path}/password"
        [trusted_keys.inline]
        public_key = "{TEXT}"
        [trusted_keys.pem]
        file = "{tmp_path}/key.pem"
        [kernel_log]
        accept_userspace_records = true
        [sources.nvml]
        interval_s = 5
        deadline_s = 3.5
        """,
    )
    assert settings.broker.password_file == tmp_path / "password"
    assert {OrderAction.REBOOT} == settings.orders_allowed
    assert [KEY.public_bytes_raw()] * 2 == [key.load() for key in settings.trusted_keys.values()]
    assert settings.timings()["nvml"] == Timing(interval_s=5.0, fast_interval_s=5.0, deadline_s=3.5)


def test_all_problems_are_reported_at_once_with_their_paths(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        node = "n 1"
        colour = "blue"
        status_interval_s = 0
        orders_allowed = ["explode"]
        [broker]
        url = "http://broker"
        password_file = "/no/such/file"
        [trusted_keys.main]
        public_key = "AAAA"
        [trusted_keys.none]
        [sources.rdma]
        interval_s = 5
        deadline_s = 6
        """,
    )
    paths = {line.partition(":")[0] for line in found}
    assert {
        "node",
        "colour",
        "status_interval_s",
        "orders_allowed.0",
        "broker.url",
        "broker.password_file",
        "trusted_keys.main",
        "trusted_keys.none",
        "sources.rdma",
    } == paths
    assert len(found) == 9


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[broker]\nurl = "mqtt://b"\n[metrics]\nport = 70000\n',
            "metrics.port: Expected `int` <= 65535",
        ),
        (
            '[broker]\nurl = "mqtt://b"\n[metrics]\nport = 9643\nhost = "everywhere"\n',
            "metrics.host: 'everywhere' is no IP address of this host, e.g. 127.0.0.1, or 0.0.0.0 for all of them",
        ),
        (
            '[broker]\nurl = "mqtt://b"\n[metrics]\nenabled = true\n',
            "metrics.enabled: no such key here; there are port, host",
        ),
        (
            '[broker]\nurl = "mqtt://a:b@c"\n',
            "broker.url: broker c: no password in the address: name a file in password_file",
        ),
        (
            '[broker]\nurl = ["mqtt://a", "mqtt://b:x"]\n',
            "broker.url: broker url 'mqtt://b:x': its port is not a number from 1 to 65535",
        ),
        ("[broker]\nurl = []\n", "broker.url: no broker url: give at least one, like mqtt://host:port"),
        (
            '[broker]\nurl = "mqtt://"\n',
            "broker.url: broker url 'mqtt://' is not mqtt://host:port or mqtts://host:port",
        ),
        (
            LEAST + "[sources.nvml]\ninterval_s = 1\ndeadline_s = 2\n",
            "sources.nvml: deadline_s 2 is longer than interval_s 1",
        ),
        (LEAST + "[trusted_keys.a]\n", "trusted_keys.a: give exactly one of public_key and file"),
        ('state_directory = "a\\u0000b"\n' + LEAST, "state_directory: 'a\\x00b' is no path: it holds a NUL"),
        ('cell = "a/b"\n' + LEAST, "cell: 'a/b' is not a name of letters, digits, '.', '_' and '-'"),
        (
            'node = "controller"\n' + LEAST,
            "node: 'controller' is how the cell's own part is called at the broker: give `node` another name",
        ),
        ("", "broker: it must be given"),
        (
            LEAST + '[checks."gpu.throtle"]\nenabled = false\n',
            "checks: there is no check 'gpu.throtle'; did you mean 'gpu.throttle'?",
        ),
        (
            LEAST + "[checks.zzz]\nenabled = false\n",
            "checks: there is no check 'zzz' (`fleetmend checks` lists them)",
        ),
        (
            LEAST + '[checks."gpu.xid"]\nraise_after = 2\n',
            "checks: gpu.xid judges the kernel log line by line: of its settings only `enabled` can be given",
        ),
        (
            LEAST + '[checks."gpu.throttle"]\ninterval_s = 5\n',
            "checks: gpu.throttle: interval_s can be set for its source alone, as [sources.nvml]",
        ),
        (
            LEAST + '[checks."gpu.throttle"]\nraise_after = 0\n',
            "checks.gpu.throttle.raise_after: Expected `int` >= 1",
        ),
        (
            LEAST + '[checks."gpu.throttle"]\nraise_after = 5\nraise_within = 3\n',
            "checks.gpu.throttle: raise_within 3 is less than raise_after 5",
        ),
        (
            LEAST + "[evidence]\nmost_bytes = 1\n",
            "evidence.most_bytes: Expected `int` >= 4194304",
        ),
        (LEAST + '[site]\nfolder = "checks.d"\n', "site: folder checks.d is not an absolute path"),
    ],
)
def test_a_problem_says_what_is_right(tmp_path: Path, text: str, problem: str) -> None:
    assert [problem] == problems(tmp_path, text)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = X25519PrivateKey.generate().public_key()
    (tmp_path / "x25519.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (found,) = problems(tmp_path, LEAST + f'[trusted_keys.a]\nfile = "{tmp_path}/x25519.pem"\n')
    assert found == "trusted_keys.a: a public key in PEM, but of another kind than Ed25519"


def test_what_is_no_toml_or_no_file_is_named(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "node = \n")
    assert found.startswith("not TOML: ")
    assert "line 1" in found
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read: No such file or directory"):
        load_settings(tmp_path / "absent.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8: invalid start byte at byte 0"):
        load_settings(tmp_path / "agent.toml")


@pytest.mark.parametrize("text", ["a = " + "[" * 50_000, "status_interval_s = " + "9" * 5_000, "#" * (1 << 20) + "\n"])
def test_what_breaks_a_parser_is_refused(tmp_path: Path, text: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(("not TOML: ", "longer than 1048576 bytes"))


def test_nobody_waits_for_a_pipe_or_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match=r"pipe: cannot be read: it is a named pipe, and a file is wanted$"):
        load_settings(tmp_path / "pipe")
    secrets = f'password_file = "{tmp_path}/pipe"\nca_file = "/dev/zero"\n[trusted_keys.a]\nfile = "/dev/zero"\n'
    assert problems(tmp_path, LEAST + secrets) == [
        f"broker.password_file: cannot read {tmp_path}/pipe: it is a named pipe, and a file is wanted",
        "broker.ca_file: cannot read /dev/zero: it is a device, and a file is wanted",
        "trusted_keys.a.file: cannot read /dev/zero: it is a device, and a file is wanted",
    ]


def test_secrets_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"p\xe4ssword")
    assert problems(tmp_path, LEAST + f'password_file = "{tmp_path}/latin"\nca_file = "{tmp_path}/latin"\n') == [
        f"broker.password_file: {tmp_path}/latin is not UTF-8: invalid continuation byte at byte 1",
        f"broker.ca_file: {tmp_path}/latin holds no certificate in PEM: NO_CERTIFICATE_OR_CRL_FOUND",
    ]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush")
    (tmp_path / "password").chmod(0o644)
    assert problems(tmp_path, LEAST + f'password_file = "{tmp_path}/password"\n') == [
        f"broker.password_file: {tmp_path}/password can be read by others than its owner: chmod 600 {tmp_path}/password"
    ]


TLS = '[broker]\nurl = "mqtts://127.0.0.1"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TLS + 'key_file = "{0}/n1.key"', "broker: give certificate_file and key_file, or neither"),
        (
            LEAST + PAIR,
            "broker: certificate_file needs mqtts:// in every url: without TLS nobody is shown a certificate",
        ),
        (TLS + 'certificate_file = "{0}/none"\nkey_file = "{0}/n1.key"', "broker: {0}/none: there is no such file"),
        (TLS + 'certificate_file = "{0}/n1.key"\nkey_file = "{0}/n1.key"', "it holds no certificate in PEM"),
        (TLS + 'certificate_file = "{0}/n1.pem"\nkey_file = "{0}/n2.key"', "are no certificate and the key of it"),
        (TLS + 'certificate_file = "{0}/n1.pem"\nkey_file = "{0}/open.key"', "{0}/open.key can be read by others"),
        (TLS + 'certificate_file = "{0}/n1.pem"\nkey_file = "{0}/pipe"', "{0}/pipe is no regular file"),
        (TLS + 'certificate_file = "{0}/pipe"\nkey_file = "{0}/n1.key"', "{0}/pipe: there is no such file"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    for name in ("n1", "n2", "open"):
        write_certificate(tmp_path, name)
    (tmp_path / "open.key").chmod(0o644)
    os.mkfifo(tmp_path / "pipe")
    (told,) = problems(tmp_path, text.format(tmp_path))
    assert problem.format(tmp_path) in told


def test_a_certificate_makes_a_password_needless(tmp_path: Path) -> None:
    write_certificate(tmp_path, "n1")
    settings = load(tmp_path, TLS + PAIR.format(tmp_path))
    life = settings.broker.tls().known_life()
    assert life is not None
    assert life.ends_at - life.begins_at == 2 * 86_400


def test_settings_never_change(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST)
    with pytest.raises(AttributeError, match="immutable"):
        settings.cell = "other"  # type: ignore[misc] # what mypy forbids is what is tried here


def test_a_bmc_is_asked_by_redfish_where_it_is_named(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST).redfish.access() is None
    fingerprint = ":".join(["AB"] * 32)
    account = f'url = "https://169.254.0.17/"\nuser = "fleetmend"\npassword_file = "{tmp_path}/none"\n'
    access = load(tmp_path, f'{LEAST}[redfish]\n{account}fingerprint = "{fingerprint}"').redfish.access()
    assert access == RedfishAccess("https://169.254.0.17", "fleetmend", tmp_path / "none", None, "ab" * 32)


ACCOUNT = 'user = "a"\npassword_file = "/b"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'url = "http://bmc"\n{ACCOUNT}', "redfish.url: it is not https://host or https://host:port"),
        (f'url = "https://bmc:99999"\n{ACCOUNT}', "redfish.url: it is not https://host or https://host:port"),
        (f'url = "https://bmc/redfish"\n{ACCOUNT}', "redfish.url: it is not https://host or https://host:port"),
        (
            f'url = "https://a:b@bmc"\n{ACCOUNT}',
            "redfish.url: no user and password in the address: give user and password_file",
        ),
        (
            'url = "https://bmc"',
            "redfish: url needs user and password_file, of an account of the BMC with the role ReadOnly",
        ),
        (
            'url = "https://bmc"\nuser = "a:b"\npassword_file = "/c"',
            "redfish.user: 'a:b' has a colon in it, which HTTP takes for the end of the name",
        ),
        (ACCOUNT, "redfish: user and password_file are of no use without url"),
        (
            f'url = "https://bmc"\n{ACCOUNT}ca_file = "/c"\nverify = false',
            "redfish: give one of ca_file, fingerprint and verify = false",
        ),
        (
            f'url = "https://bmc"\n{ACCOUNT}fingerprint = "ab"',
            "redfish.fingerprint: 'ab' is no SHA-256 of a certificate: 64 hexadecimal digits",
        ),
    ],
)
def test_half_a_bmc_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, f"{LEAST}[redfish]\n{text}") == [problem]


def test_only_tools_that_there_are_can_be_left_out(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, LEAST + '[evidence]\nleft_out = ["nvidia-bug-report", "nvidia-bug"]\n')
    assert problem.startswith("evidence.left_out: no such tool or file: nvidia-bug; there are ")
    settings = load(tmp_path, LEAST + '[evidence]\nleft_out = ["nvidia-bug-report", "kernel-ring.txt"]\n')
    assert settings.evidence.left_out == {"nvidia-bug-report", "kernel-ring.txt"}
