"""Power by Redfish against an HTTPS server in the form of DMTF's schemas: each answer that a BMC may give, and none."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.errors import InDoubt, Permanent, Retryable
from controller.power.bmcs import Bmc as Account
from controller.power.bmcs import Bmcs
from controller.power.redfish import RedfishPower
from controller.power.redfish_talk import Access
from tests.support import redfish
from tests.support.redfish import (
    CHASSIS,
    DROPPED,
    HALF,
    HANG,
    LOG,
    PASSWORD,
    RESET,
    SESSIONS,
    SYSTEM,
    USER,
    Bmc,
    collection,
    entry,
    link,
    older_tree,
)
from tests.support.sushy import running_emulator

SHORT_S = 0.6
WARM = {"ResetType": "ForceRestart"}
OFF = {"ResetType": "ForceOff"}
ON = {"ResetType": "On"}


@dataclass
class Host:
    """A host behind the BMC: what is asked for happens, unless the BMC says something else.

    Attributes:
        types: of reset that the BMC offers; `None` says nothing about it.
        says: in place of 204.
    """

    bmc: Bmc
    power: str = "On"
    types: list[str] | None = field(default_factory=lambda: ["On", "ForceOff", "ForceRestart", "PowerCycle"])
    says: Any = 204
    is_stubborn: bool = False

    def show(self) -> None:
        """Write the documents anew."""
        action: dict[str, Any] = {"target": RESET}
        if self.types is not None:
            action["ResetType@Redfish.AllowableValues"] = self.types
        system = {**SYSTEM_WELL, "PowerState": self.power, "Actions": {"#ComputerSystem.Reset": action}}
        self.bmc.documents |= {SYSTEM: system, f"POST {RESET}": self.reset}

    def reset(self, body: dict[str, str]) -> Any:
        """Do what is asked for."""
        if self.types is not None and body["ResetType"] not in self.types:
            return 501
        if self.says == 204 and not self.is_stubborn:
            self.power = {"ForceOff": "Off"}.get(body["ResetType"], "On")
            self.show()
        return self.says


SYSTEM_WELL = dict(older_tree()[SYSTEM])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    with redfish.running_bmc(tmp_path_factory.mktemp("bmc"), {}) as bmc:
        yield bmc


@pytest.fixture
def host(running: Bmc) -> Iterator[Host]:
    running.documents.clear()
    running.documents.update(older_tree())
    running.done.clear()
    running.asked.clear()
    running.tokens.clear()
    found = Host(running)
    found.show()
    yield found
    running.released.set()
    running.released = threading.Event()


def power(host: Host, *, deadline_s: float = 20.0, by_session: bool = False, **account: Any) -> RedfishPower:
    """Return the adapter for a node n1."""
    known = host.bmc.access()
    bmc = Account(known.url, USER, known.password_file)
    more = Account(**{"address": known.url, **account}).over(bmc)
    return RedfishPower(Bmcs(named={"n1": more}), Access(known.ca_file, by_session=by_session, deadline_s=deadline_s))


async def cycle(adapter: RedfishPower, *, key: str = "inc-000001/power_cycle/1", cold: bool = False) -> str:
    return await adapter.cycle("n1", key=key, fencing_token=1, cold=cold)


async def test_a_node_is_restarted_and_its_password_is_in_no_sentence(host: Host) -> None:
    said = await cycle(power(host))
    assert said == f"ForceRestart was taken up by {host.bmc.access().url}."
    assert host.bmc.done == [WARM]


@pytest.mark.parametrize(
    ("types", "cold", "asked"),
    [
        (["On", "ForceOff", "ForceRestart", "PowerCycle"], False, "ForceRestart"),
        (["On", "ForceOff", "PowerCycle"], False, "PowerCycle"),
        (["On", "ForceOff", "ForceRestart", "PowerCycle"], True, "PowerCycle"),
        (["On", "ForceOff", "GracefulShutdown"], False, "ForceOff"),
        (["On", "ForceOff", "ForceRestart"], True, "ForceOff"),
    ],
)
async def test_the_way_is_the_first_that_the_bmc_offers(host: Host, types: list[str], cold: bool, asked: str) -> None:
    host.types = types
    host.show()
    with contextlib.suppress(Retryable):
        await cycle(power(host), cold=cold)
    assert host.bmc.done == [{"ResetType": asked}]


async def test_a_node_is_switched_off_and_then_on_where_nothing_else_is_offered(host: Host) -> None:
    host.types = ["On", "ForceOff"]
    host.show()
    adapter = power(host)
    with pytest.raises(Retryable, match="n1 is switched on once it is off") as put_off:
        await cycle(adapter)
    assert put_off.value.after_s >= 10.0, "power must be gone for a while"
    assert (await cycle(adapter)).startswith("n1 was off: On was taken up by https://127.0.0.1")
    assert host.bmc.done == [OFF, ON]


async def test_i4_one_key_never_switches_a_node_off_twice(host: Host) -> None:
    """The BMC says 204 to ForceOff and does nothing."""
    host.types, host.is_stubborn = ["On", "ForceOff"], True
    host.show()
    adapter = power(host)
    with pytest.raises(Retryable, match="ForceOff was taken up"):
        await cycle(adapter)
    for _ in range(2):
        with pytest.raises(Retryable, match="took ForceOff up, and n1 is not off"):
            await cycle(adapter)
    assert host.bmc.done == [OFF]


async def test_what_a_bmc_offers_may_stand_in_a_document_of_its_own(host: Host) -> None:
    """As iDRAC and others say it, by ActionInfo."""
    info = "/redfish/v1/Systems/Self/ResetActionInfo"
    host.show()
    host.bmc.documents[SYSTEM]["Actions"]["#ComputerSystem.Reset"] = {"target": RESET, "@Redfish.ActionInfo": info}
    host.bmc.documents[info] = {"Parameters": [{"Name": "ResetType", "AllowableValues": ["On", "PowerCycle"]}]}
    await cycle(power(host))
    assert host.bmc.done == [{"ResetType": "PowerCycle"}]


async def test_a_bmc_that_says_nothing_is_asked_for_one_way_after_the_other(host: Host) -> None:
    host.types = None
    host.show()
    host.bmc.documents[f"POST {RESET}"] = lambda body: 204 if body["ResetType"] == "PowerCycle" else 501
    assert (await cycle(power(host))).startswith("PowerCycle was taken up")
    assert host.bmc.done == [WARM, {"ResetType": "PowerCycle"}]


async def test_a_bmc_that_offers_what_it_does_not_know_is_found_out(host: Host) -> None:
    """As sushy-tools does with PowerCycle."""
    host.says = 501
    host.show()
    with pytest.raises(Permanent, match=r"does none of ForceRestart, PowerCycle, ForceOff: ForceRestart: .* HTTP 501"):
        await cycle(power(host))


async def test_a_node_that_is_off_is_only_switched_on(host: Host) -> None:
    host.power = "Off"
    host.show()
    assert (await cycle(power(host), cold=True)).startswith("n1 was off: On was taken up")
    assert host.bmc.done == [ON]


@pytest.mark.parametrize("state", ["PoweringOn", "PoweringOff", None, 7])
async def test_nothing_is_asked_for_while_the_power_changes(host: Host, state: Any) -> None:
    host.power = state
    host.show()
    with pytest.raises(Retryable, match="says that the power of n1 is"):
        await cycle(power(host))
    assert host.bmc.done == []


ILO = b'{"error": {"@Message.ExtendedInfo": [{"MessageID": "iLO.0.10.InvalidOperationForSystemState"}]}}'


@pytest.mark.parametrize(
    ("says", "error", "sentence"),
    [
        (400, Permanent, "does none of"),
        (401, Permanent, "is refused to the user 'fleetmend' .HTTP 401.: user and password have to be those"),
        (403, Permanent, "the role Operator"),
        (404, Permanent, "was answered with HTTP 404"),
        (409, Retryable, "was answered with HTTP 409"),
        (412, Permanent, "was answered with HTTP 412"),
        (429, Retryable, "was answered with HTTP 429"),
        (503, Retryable, "was answered with HTTP 503"),
        (500, InDoubt, "HTTP 500; it may have been done all the same"),
        (502, InDoubt, "it may have been done all the same"),
        (504, InDoubt, "it may have been done all the same"),
        (307, Permanent, "redirects are not followed"),
        (HANG, InDoubt, "was not answered: .*; it may have been done all the same"),
        (DROPPED, InDoubt, "was not answered: .*; it may have been done all the same"),
    ],
)
async def test_each_answer_to_what_is_asked_for_is_classified(
    host: Host, says: Any, error: type[Exception], sentence: str
) -> None:
    host.says = says
    host.show()
    began = asyncio.get_running_loop().time()
    with pytest.raises(error, match=sentence) as raised:
        await cycle(power(host, deadline_s=SHORT_S if says is HANG else 20.0))
    assert PASSWORD not in str(raised.value)
    assert asyncio.get_running_loop().time() - began < 5.0
    assert len(host.bmc.done) == (3 if says == 400 else 1)


async def test_an_answer_that_breaks_off_after_its_status_was_one(host: Host) -> None:
    host.says = HALF
    host.show()
    assert (await cycle(power(host))).startswith("ForceRestart was taken up")


async def test_i4_an_answer_of_any_length_after_its_status_was_one(host: Host) -> None:
    """The node goes off, and the BMC tells a story about it: it is switched on again all the same."""
    host.types = ["On", "ForceOff"]
    host.show()
    taken_up = host.bmc.documents[f"POST {RESET}"]
    host.bmc.documents[f"POST {RESET}"] = lambda body: b" " * (2 << 20) if taken_up(body) == 204 else 501
    adapter = power(host)
    with pytest.raises(Retryable, match="n1 is switched on once it is off"):
        await cycle(adapter)
    assert (await cycle(adapter)).startswith("n1 was off: On was taken up")
    assert host.bmc.done == [OFF, ON]


async def test_a_doubt_about_off_is_resolved_by_looking(host: Host) -> None:
    """ForceOff was not answered: whether the node goes off is seen, and it is not asked for again."""
    host.types = ["On", "ForceOff"]
    host.show()
    host.bmc.documents[f"POST {RESET}"] = DROPPED
    adapter = power(host)
    with pytest.raises(Retryable, match="was not answered"):
        await cycle(adapter)
    host.power = "Off"
    host.show()
    assert (await cycle(adapter)).startswith("n1 was off")
    assert host.bmc.done == [OFF, ON]


READING: list[tuple[Any, type[Exception], str]] = [
    (401, Permanent, "is refused to the user"),
    (403, Permanent, "is refused to the user"),
    (404, Permanent, "HTTP 404"),
    (500, Retryable, "HTTP 500"),
    (501, Permanent, "HTTP 501"),
    (503, Retryable, "HTTP 503"),
    (HANG, Retryable, "was not answered"),
    (HALF, Retryable, "was not answered"),
    (DROPPED, Retryable, "was not answered"),
    (b"<html>starting</html>", Retryable, "no JSON"),
    (b"[1]", Retryable, "JSON that is no object"),
]


@pytest.mark.parametrize(("says", "error", "sentence"), READING)
@pytest.mark.parametrize("path", [redfish.ROOT, SYSTEM])
async def test_nothing_is_asked_for_when_the_state_cannot_be_read(
    host: Host, path: str, says: Any, error: type[Exception], sentence: str
) -> None:
    host.bmc.documents[path] = says
    with pytest.raises(error, match=sentence):
        await cycle(power(host, deadline_s=SHORT_S if says is HANG else 20.0))
    assert host.bmc.done == []
    seen = await power(host, deadline_s=SHORT_S if says is HANG else 20.0).look("n1")
    assert seen.power == "unknown" and "The BMC of n1 cannot be asked: " in seen.because


@pytest.mark.parametrize(("state", "power_is"), [("On", "on"), ("Off", "off"), ("PoweringOff", "unknown")])
async def test_the_power_is_what_the_bmc_says(host: Host, state: str, power_is: str) -> None:
    host.power = state
    host.show()
    assert (await power(host).look("n1")).power == power_is


async def test_a_wrong_password_is_said_with_what_is_right(host: Host, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not it")
    with pytest.raises(Permanent, match="is refused to the user 'fleetmend'"):
        await cycle(power(host, password_file=wrong))
    with pytest.raises(Permanent, match="No such file"):
        await cycle(power(host, password_file=tmp_path / "none"))
    assert host.bmc.done == []


async def test_a_bmc_that_is_not_there_may_be_later(host: Host) -> None:
    with pytest.raises(Retryable, match="cannot be reached"):
        await cycle(power(host, address="https://127.0.0.1:9"))


async def test_a_certificate_that_nobody_vouches_for_gets_no_password(host: Host) -> None:
    adapter = power(host)
    adapter.access = Access()
    with pytest.raises(
        Permanent, match=r"certificate of https://127.0.0.1:.* is not trusted: .*: name its CA in ca_file"
    ):
        await cycle(adapter)
    adapter.bmcs = Bmcs(named={"n1": Account(fingerprint="00" * 32).over(adapter.bmcs.of("n1"))})
    with pytest.raises(Permanent, match="another certificate than fingerprint says"):
        await cycle(adapter)
    assert host.bmc.asked == []
    adapter.bmcs = Bmcs(named={"n1": Account(fingerprint=host.bmc.fingerprint).over(adapter.bmcs.of("n1"))})
    assert await cycle(adapter)
    adapter.bmcs = power(host).bmcs
    adapter.access = Access(verify=False)
    assert await cycle(adapter)


async def test_a_session_is_opened_and_ended(host: Host, tmp_path: Path) -> None:
    host.bmc.documents[SESSIONS] = {}
    assert await cycle(power(host, by_session=True))
    assert (host.bmc.done, host.bmc.tokens) == ([WARM], set())
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not it")
    with pytest.raises(Permanent, match="is refused to the user"):
        await cycle(power(host, by_session=True, password_file=wrong))
    with pytest.raises(Permanent, match="is refused to the user"):
        await cycle(power(host))


async def test_a_session_is_ended_when_the_conversation_fails(host: Host) -> None:
    host.bmc.documents[SESSIONS] = {}
    host.says = 404
    with pytest.raises(Permanent, match="404"):
        await cycle(power(host, by_session=True))
    assert host.bmc.tokens == set()


async def test_whoever_takes_over_switches_on_and_never_off(host: Host) -> None:
    with pytest.raises(
        InDoubt, match=r"The controller stopped while the BMC of n1 was asked .*; the node has power now"
    ):
        await power(host).take_up("n1", key="k", fencing_token=2)
    assert host.bmc.done == []
    host.power = "Off"
    host.show()
    assert (await power(host).take_up("n1", key="k", fencing_token=2)).startswith("n1 was off: On was taken up")
    assert host.bmc.done == [ON]


@pytest.mark.parametrize(
    ("others", "system", "sentence"),
    [
        (["/redfish/v1/Systems/HGX_Baseboard_0"], "", ""),
        (["/redfish/v1/Systems/Other"], "", "knows Other, Self: name the node's own as `system`"),
        (["/redfish/v1/Systems/Other"], "Self", ""),
        ([], "n9", "knows no system 'n9', only Self"),
    ],
)
async def test_a_bmc_may_know_several_systems(host: Host, others: list[str], system: str, sentence: str) -> None:
    host.bmc.documents["/redfish/v1/Systems"] = collection(SYSTEM, *others)
    with pytest.raises(Permanent, match=sentence) if sentence else contextlib.nullcontext():
        await cycle(power(host, system=system))


LEADS_AWAY: list[Callable[[dict[str, Any]], None]] = [
    lambda documents: documents[SYSTEM]["Actions"]["#ComputerSystem.Reset"].update(target="https://evil.example/reset"),
    lambda documents: documents[SYSTEM].update(Actions=[]),
    lambda documents: documents[SYSTEM].pop("Actions"),
]


@pytest.mark.parametrize("change", LEADS_AWAY)
async def test_nothing_is_sent_to_where_the_bmc_does_not_answer_itself(
    host: Host, change: Callable[[dict[str, Any]], None]
) -> None:
    change(host.bmc.documents)
    with pytest.raises(Permanent, match=r"offers no ComputerSystem\.Reset"):
        await cycle(power(host))


async def test_evidence_is_power_health_and_the_newest_entries_of_the_logs(host: Host) -> None:
    gpus = {f"{CHASSIS}_GPU": "/redfish/v1/Chassis/HGX_GPU_SXM_3", "well": "/redfish/v1/Chassis/HGX_GPU_SXM_4"}
    sick = {"Health": "Critical", "HealthRollup": "Critical", "State": "Enabled"}
    host.bmc.documents |= {
        "/redfish/v1/Chassis": collection(CHASSIS, *gpus.values()),
        gpus[f"{CHASSIS}_GPU"]: {"Id": "HGX_GPU_SXM_3", "SerialNumber": "165032", "Status": sick},
        gpus["well"]: {"Id": "HGX_GPU_SXM_4", "Status": {"Health": "OK", "HealthRollup": "OK", "State": "Enabled"}},
        LOG: collection(
            *(entry(number, f"event {number}", Created=f"2026-01-01T00:{number:02}:00Z") for number in range(60))
        ),
    }
    host.bmc.documents[SYSTEM]["BootProgress"] = {"LastState": "OSRunning"}
    found = await power(host).evidence("n1")
    assert found["bmc/power.txt"].splitlines()[0] == "power: On"
    assert "boot progress: OSRunning" in found["bmc/power.txt"]
    assert "HGX_GPU_SXM_3: Critical, with all parts Critical, Enabled, serial 165032" in found["bmc/health.txt"]
    assert "HGX_GPU_SXM_4: OK" in found["bmc/health.txt"]
    lines = found["bmc/log-SEL.txt"].splitlines()
    assert (len(lines), lines[-1]) == (50, "2026-01-01T00:59:00Z Critical event 59")
    assert "bmc/log-Dump.txt" not in found


async def test_evidence_of_a_bmc_that_has_little_is_what_it_has(host: Host) -> None:
    for path in ("/redfish/v1/Chassis", f"{SYSTEM}/LogServices"):
        host.bmc.documents[path] = 500
    found = await power(host).evidence("n1")
    assert set(found) == {"bmc/power.txt", "bmc/health.txt", "bmc/unread.txt"}
    assert "HTTP 500" in found["bmc/unread.txt"]
    host.bmc.documents[SYSTEM] = 401
    with pytest.raises(Permanent):
        await power(host).evidence("n1")


async def test_evidence_of_managers_where_the_system_has_no_logs(host: Host) -> None:
    manager, log = "/redfish/v1/Managers/1", "/redfish/v1/Managers/1/LogServices/Sel"
    host.bmc.documents[SYSTEM].pop("LogServices")
    host.bmc.documents[SYSTEM]["Links"] = {"ManagedBy": [link(manager)]}
    host.bmc.documents |= {
        manager: {"LogServices": link(f"{manager}/LogServices")},
        f"{manager}/LogServices": collection(log),
        log: {"Entries": link(f"{log}/Entries")},
        f"{log}/Entries": collection(entry(1, "CPU 1 machine check error", Created="2026-01-01T00:00:00Z")),
    }
    found = await power(host).evidence("n1")
    assert found["bmc/log-Sel.txt"] == "2026-01-01T00:00:00Z Critical CPU 1 machine check error\n"


async def test_openstacks_emulator_is_switched_off_and_on(tmp_path: Path) -> None:
    """It offers no PowerCycle, and answers 501 to it."""
    with running_emulator(tmp_path / "emulator") as known:
        account = Account(known.url, USER, known.password_file)
        adapter = RedfishPower(Bmcs(named={"n1": account}), Access(known.ca_file))
        assert (await adapter.look("n1")).power == "on"
        with pytest.raises(Retryable, match=r"ForceOff was taken up .* n1 is switched on once it is off"):
            await cycle(adapter, cold=True)
        said = ""
        async with asyncio.timeout(20.0):
            while not said:
                with contextlib.suppress(Retryable):
                    said = await cycle(adapter, cold=True)
        assert said == f"n1 was off: On was taken up by {known.url}."
        assert (await adapter.evidence("n1"))["bmc/power.txt"].startswith("power: ")
        async with asyncio.timeout(20.0):
            while (await adapter.look("n1")).power != "on":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert (await cycle(adapter)).startswith("ForceRestart was taken up")
