"""Power by IPMI: the real ipmitool against ipmi_sim, and a program in its place for what ipmi_sim does not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import InDoubt, Permanent, Retryable
from controller.power.bmcs import Bmc, Bmcs
from controller.power.ipmi import IpmiPower
from tests.support import ipmi
from tests.support.controllers import until
from tests.support.surroundings import write_program


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ipmi.Host]:
    with ipmi.running_host(tmp_path_factory.mktemp("bmc") / "host") as running:
        yield running


@pytest.fixture
def adapter(host: ipmi.Host) -> IpmiPower:
    host.did.write_text("")
    host.power.write_text("1")
    account = Bmc(host.address, host.user, host.password_file)
    return IpmiPower(Bmcs(named={"n1": account}), deadline_s=20.0, tool=shutil.which("ipmitool") or "ipmitool")


async def cycle(adapter: IpmiPower, *, cold: bool = False) -> str:
    return await adapter.cycle("n1", key="inc-000001/power_cycle/1", fencing_token=1, cold=cold)


async def test_power_is_seen_cut_and_given(adapter: IpmiPower, host: ipmi.Host) -> None:
    assert (await adapter.look("n1")).power == "on"
    assert await cycle(adapter) == f"chassis power reset was taken up by {host.address}."
    assert host.done() == ["reset"]
    assert await cycle(adapter, cold=True) == f"chassis power cycle was taken up by {host.address}."
    await until(lambda: host.done()[1:] == ["off", "on"])


async def test_a_node_that_is_off_is_only_switched_on(adapter: IpmiPower, host: ipmi.Host) -> None:
    host.power.write_text("0")
    assert (await adapter.look("n1")).because == "The BMC of n1 says that it has no power."
    assert await cycle(adapter, cold=True) == f"n1 was off: chassis power on was taken up by {host.address}."
    assert host.done() == ["on"]


async def test_whoever_takes_over_switches_on_and_never_off(adapter: IpmiPower, host: ipmi.Host) -> None:
    with pytest.raises(InDoubt, match="the node has power now"):
        await adapter.take_up("n1", key="k", fencing_token=2)
    assert host.done() == []
    host.power.write_text("0")
    assert (await adapter.take_up("n1", key="k", fencing_token=2)).startswith("n1 was off: chassis power on")


async def test_evidence_is_how_the_host_stands_and_its_event_log(adapter: IpmiPower, host: ipmi.Host) -> None:
    empty = await adapter.evidence("n1")
    assert "System Power         : on" in empty["bmc/power.txt"]
    host.log_event("0x04 0x09 0x01 0x6f 0x00 0xff 0xff")
    assert "Power Unit" in (await adapter.evidence("n1"))["bmc/log-SEL.txt"]


async def test_a_wrong_password_is_said_with_what_is_right(adapter: IpmiPower, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not it")
    account = adapter.bmcs.of("n1")
    adapter.bmcs = Bmcs(named={"n1": replace(account, password_file=wrong)})
    with pytest.raises(Permanent, match="the password is wrong"):
        await cycle(adapter)
    adapter.bmcs = Bmcs(named={"n1": replace(account, user="nobody")})
    with pytest.raises(Permanent, match="there is no such user on the BMC"):
        await cycle(adapter)
    assert (await adapter.look("n1")).power == "unknown"


TROUBLES: list[tuple[str, type[Exception], str]] = [
    ('echo "Error: Unable to establish IPMI v2 / RMCP+ session" >&2; exit 1', Retryable, "n1-bmc cannot be reached"),
    (
        'echo "Set Chassis Power Control to Reset failed: Command not supported in present state" >&2; exit 1',
        Retryable,
        "not supported in present state",
    ),
    (
        'echo "Set Chassis Power Control to Reset failed: Insufficient privilege level" >&2; exit 1',
        Permanent,
        "Insufficient privilege level",
    ),
    (
        'echo "Unable to set Chassis Power Control to Reset" >&2; exit 1',
        InDoubt,
        "Unable to set Chassis Power Control to Reset; it may have been done all the same",
    ),
    ("exec sleep 60", InDoubt, "was not done after 1 s and was killed; it may have been done all the same"),
    ("kill -9 $$", InDoubt, "it may have been done all the same"),
]


@pytest.mark.parametrize(("script", "error", "sentence"), TROUBLES)
async def test_each_answer_to_what_is_asked_for_is_classified(
    tmp_path: Path, script: str, error: type[Exception], sentence: str
) -> None:
    """Source of the words: ipmitool 1.8.19, lib/ipmi_chassis.c and lanplus."""
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a secret\n")
    calls = tmp_path / "calls"
    tool = write_program(
        tmp_path / "bin",
        "ipmitool",
        f'echo "$*" >> {calls}\ncase "$*" in *status*) echo "Chassis Power is on" ;; *) {script} ;; esac',
    )
    adapter = IpmiPower(Bmcs(Bmc("{node}-bmc", "operator", password)), deadline_s=1.0, tool=str(tool))
    with pytest.raises(error, match=sentence):
        await cycle(adapter)
    asked = calls.read_text().splitlines()
    assert len(asked) == 2, "it is asked for once"
    assert asked[1] == (
        f"-I lanplus -C 3 -N 3 -H n1-bmc -p 623 -U operator -L OPERATOR -f {password} -v -R 1 chassis power reset"
    )
    assert "a secret" not in calls.read_text()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exec sleep 60", Retryable),
        ("echo what?", Retryable),
        ("echo 'RAKP 2 HMAC is invalid\nUnable to establish IPMI v2' >&2; exit 1", Permanent),
    ],
)
async def test_nothing_is_asked_for_when_the_state_cannot_be_read(
    tmp_path: Path, script: str, error: type[Exception]
) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a secret\n")
    tool = write_program(
        tmp_path / "bin", "ipmitool", f"case $* in *status*) {script} ;; *) touch {tmp_path}/did ;; esac"
    )
    adapter = IpmiPower(Bmcs(Bmc("[::1]:6230", "operator", password)), deadline_s=0.5, tool=str(tool))
    with pytest.raises(error):
        await cycle(adapter)
    assert (await adapter.look("n1")).power == "unknown"
    assert not (tmp_path / "did").exists()


async def test_a_tool_that_is_not_there_is_said(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a secret\n")
    adapter = IpmiPower(Bmcs(Bmc("{node}-bmc", "operator", password)), tool="no-ipmitool")
    with pytest.raises(Permanent, match="no-ipmitool cannot be run: No such file"):
        await cycle(adapter)
