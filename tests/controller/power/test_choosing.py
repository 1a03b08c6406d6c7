"""How a node's BMC is found, and every mistake that can be made about it, said at once with file, line and key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.errors import Permanent
from controller.power.bmcs import Bmc, read_file
from controller.power.choosing import power_of
from controller.power.ipmi import IpmiPower
from controller.power.none import NoPower
from controller.power.redfish import RedfishPower
from controller.sections.power import PowerSection
from controller.settings import SettingsError

SECRET = "a secret of the BMC"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(f"{SECRET}\n")
    return file


def section(secret: Path, **more: Any) -> PowerSection:
    table = {"kind": "redfish", "address": "https://{node}-bmc.example", "user": "fleet", "password_file": str(secret)}
    return PowerSection.model_validate(table | more)


def problems(section: PowerSection) -> list[str]:
    with pytest.raises(SettingsError) as error:
        power_of(section)
    assert SECRET not in str(error.value)
    return str(error.value).splitlines()


def bmc_of(section: PowerSection, node: str) -> Bmc:
    adapter = power_of(section)
    assert isinstance(adapter, RedfishPower | IpmiPower)
    return adapter.bmcs.of(node)


def test_nobody_switches_anything_unless_it_is_said() -> None:
    assert isinstance(power_of(PowerSection()), NoPower)


def test_a_bmc_is_found_by_pattern_file_and_table_the_nearest_wins(secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "bmcs.csv"
    file.write_text(
        "# as the data centre says\nnode,address,user\n"
        "gpu[01-02],https://{node}.oob.example,\ngpu03,https://10.0.0.3,root\ngpu04,https://10.0.0.4,root\n"
    )
    tables = {"gpu04": {"address": "https://10.1.0.4", "system": "Node4"}}
    chosen = section(secret, bmcs=str(file), nodes=tables)
    assert bmc_of(chosen, "n1") == Bmc("https://n1-bmc.example", "fleet", secret)
    assert bmc_of(chosen, "gpu02") == Bmc("https://gpu02.oob.example", "fleet", secret)
    assert bmc_of(chosen, "gpu03") == Bmc("https://10.0.0.3", "root", secret)
    assert bmc_of(chosen, "gpu04") == Bmc("https://10.1.0.4", "root", secret, "Node4")


def test_a_node_without_a_bmc_is_told_so(secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "bmcs.csv"
    file.write_text("node,address\nn1,https://10.0.0.1\n")
    with pytest.raises(Permanent, match="no BMC is known of n2"):
        bmc_of(section(secret, address="", bmcs=str(file)), "n2")
    with pytest.raises(Permanent, match="no BMC is known of"):
        bmc_of(section(secret), "../n2")


def test_the_password_may_be_a_credential_of_systemd(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    chosen = section(secret, password_file=None, credential="secret")
    assert bmc_of(chosen, "n1").password() == SECRET
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "No such file" in problems(section(secret, password_file=None, credential="secret"))[0]


def test_a_password_that_changed_is_taken_up_without_a_restart(secret: Path) -> None:
    bmc = bmc_of(section(secret), "n1")
    secret.write_text("another one")
    assert bmc.password() == "another one"
    secret.unlink()
    with pytest.raises(Permanent, match="No such file"):
        bmc.password()
    assert SECRET not in repr(bmc)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"address": "http://{node}"}, "without TLS anybody on the way learns the password"),
        ({"address": "https://root:calvin@{node}"}, "must not hold an account"),
        ({"address": "https://{node}/redfish/v1"}, "must end with the host, or its port"),
        ({"address": "https://one-for-all"}, "must have {node} in it, or each node needs a system of its own"),
        ({"address": "{node}"}, "must be https://host or https://host:port"),
        ({"kind": "ipmi"}, "must be host or host:port, without a scheme"),
        ({"kind": "ipmi", "address": "10.0.0.1"}, "must have {node} in it"),
        ({"address": ""}, "no BMC is known"),
        ({"user": ""}, "user is missing"),
        ({"password_file": None}, "no password_file and no credential is given"),
        ({"address": "https://{nod}-bmc"}, "must have no braces but those of {node}"),
        ({"password_file": "/nowhere"}, "No such file"),
        ({"fingerprint": "abc"}, "is no SHA-256"),
        ({"ca_file": "/nowhere"}, "/nowhere holds no certificates in PEM"),
    ],
)
def test_what_is_wrong_is_said_before_a_bmc_is_asked(secret: Path, wrong: dict[str, Any], said: str) -> None:
    found = problems(section(secret, **wrong))
    assert any(said in problem for problem in found), found
    assert "calvin" not in "".join(found)


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "a\x00b"])
def test_a_file_that_holds_no_password_is_refused(secret: Path, content: str) -> None:
    secret.write_text(content)
    assert "has to hold the password of the BMC and nothing else" in problems(section(secret))[0]


def test_a_password_that_ipmi_cannot_send_is_refused(secret: Path) -> None:
    secret.write_text("x" * 21)
    assert "at most 20 bytes" in problems(section(secret, kind="ipmi", address="{node}-bmc"))[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"password_file": "/a", "credential": "b"},
        {"credential": "../b"},
        {"user": "a:b"},
        {"kind": "ilo"},
        {"pasword": ""},
    ],
)
def test_a_table_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PowerSection.model_validate({"kind": "redfish", "address": "https://{node}", "user": "a", **wrong})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":empty"),
        ("address\nhttps://a\n", ":1: there is no column `node`"),
        ("node,adress\nn1,https://a\n", ":1: column 'adress' is not known, or twice"),
        ("node,node\nn1,n1\n", "column 'node' is not known, or twice"),
        ("node,address\nn1\n", ":2: 1 cells, and there are 2 columns"),
        ("node,address\nn[1,https://a\n", ":2: "),
        ("node,address\n../n,https://a\n", ":2: node: '../n' is not the name of a node"),
        ("node,address\nn1,https://a\nn[1-2],https://b\n", ":3: node: an earlier line has the BMC of n1 already"),
    ],
)
def test_a_file_of_bmcs_that_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bmcs.csv"
    file.write_text(text)
    found, problems = read_file(file)
    assert (found == {}) == ("earlier" not in said)
    assert said.replace(":empty", "it is empty") in problems[0]


def test_all_mistakes_are_said_at_once(secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "bmcs.csv"
    file.write_text("node,address,password_file\nn1,http://a,/nowhere\nn2\nn3,https://ok,\n")
    found = problems(section(secret, bmcs=str(file), nodes={"n4": {"fingerprint": "zz"}}))
    assert len(found) == 4


@given(st.binary(max_size=300))
def test_a_file_of_any_bytes_is_read_or_refused(content: bytes) -> None:
    file = Path(os.environ.get("TMPDIR", "/tmp")) / f"fleetmend-bmcs-{os.getpid()}.csv"
    try:
        file.write_bytes(content)
        found, problems = read_file(file)
    finally:
        file.unlink()
    assert found or problems or b"node" in content
