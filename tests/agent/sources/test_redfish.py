"""The BMC by Redfish: a real HTTPS server, what is told of it, who it trusts, and any document at all."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.bmc import BmcSource
from agent.sources.child import Slot
from agent.sources.redfish import RedfishBmc
from agent.sources.redfish_access import RedfishAccess
from agent.sources.redfish_documents import Document, Flawed
from agent.sources.redfish_walk import MOST_ENTRIES, MOST_QUESTIONS, Walk
from checks.errors import CannotObserve
from checks.finding import Verdict
from checks.host.bmc import judge
from checks.readings import BmcReading
from checks.readings.bmc import BmcEvent, BmcSensor
from cli.ports import free_ports
from tests.support.eventually import eventually
from tests.support.memory_store import MemoryStore
from tests.support.redfish import (
    CHASSIS,
    FANS,
    HANG,
    LOG,
    PASSWORD,
    ROOT,
    SUPPLIES,
    SYSTEM,
    WELL,
    Bmc,
    collection,
    entry,
    link,
    newer_tree,
    older_tree,
    running_bmc,
    write_certificate,
)
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files, write_program
from tests.support.sushy import running_emulator


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    with running_bmc(tmp_path / "bmc", older_tree()) as running:
        yield running


async def read(
    root: Path, access: RedfishAccess, store: MemoryStore | None = None, *, within_s: float = 30.0
) -> BmcReading:
    source = BmcSource(surroundings_at(root, store, redfish=access), deadline(within_s))
    try:
        return await source.read()
    finally:
        await source.close()


async def test_the_older_schemas_are_read(tmp_path: Path, bmc: Bmc) -> None:
    reading = await read(tmp_path, bmc.access())
    assert (reading.present, reading.failure, reading.events) == (True, "", ())
    assert reading.sensors == (
        BmcSensor("Self PSU1", "ok", "Enabled", "supply", "PS-001"),
        BmcSensor("Self PSU2", "ok", "Enabled", "supply", "PS-002"),
        BmcSensor("Self PSU Redundancy", "ok", "Enabled", "supply"),
        BmcSensor("Self P12V", "ok", "Enabled, 12.1 V", "voltage"),
        BmcSensor("Self Fan1", "ok", "Enabled, 5400 RPM", "fan"),
        BmcSensor("Self Fan2", "ns", "Absent", "fan"),
        BmcSensor("Self Inlet", "ok", "Enabled, 23 degrees C", "temperature"),
        BmcSensor("system Server", "ok", "Enabled", "system"),
        BmcSensor("Self GPU 0", "ok", "Enabled", "processor"),
    )
    assert judge([reading]) == ()


async def test_the_newer_schemas_are_read(tmp_path: Path) -> None:
    with running_bmc(tmp_path / "bmc", newer_tree()) as bmc:
        reading = await read(tmp_path, bmc.access())
    assert reading.failure == ""
    assert reading.sensors[:2] == (
        BmcSensor("Self PSU1", "ok", "Enabled", "supply", "PS-001"),
        BmcSensor("Self Fan1", "ok", "Enabled, 5400 RPM", "fan"),
    )


async def test_a_supply_without_its_feed_and_a_failed_fan_are_found_with_their_serial_numbers(tmp_path: Path) -> None:
    tree = newer_tree()
    tree[f"{SUPPLIES}/0"] |= {"LineInputStatus": "LossOfInput", "Status": {"State": "Enabled", "Health": "Warning"}}
    tree[f"{FANS}/1"]["Status"] = {"State": "Enabled", "Health": "Critical", "Conditions": [{"Message": "it stands"}]}
    tree[SYSTEM]["Status"] = {"State": "Enabled", "Health": "Critical"}
    with running_bmc(tmp_path / "bmc", tree) as bmc:
        found = judge([await read(tmp_path, bmc.access())])
    assert [(each.device, each.code, each.verdict, each.serial) for each in found] == [
        ("Self PSU1", "supply", Verdict.DEGRADED, "PS-001"),
        ("Self Fan1", "sensor", Verdict.DEGRADED, ""),
    ]
    assert "it stands" in found[1].because


async def test_only_news_of_the_log_is_told_and_for_a_day(tmp_path: Path, bmc: Bmc) -> None:
    store = MemoryStore()
    bmc.documents[LOG] = collection(entry(1, "old"))
    assert (await read(tmp_path, bmc.access(), store)).events == ()
    fan = entry(3, "", "Critical", SensorType="Fan", SensorNumber=65, EntryCode="Lower Critical - going low")
    bmc.documents[LOG] = collection(
        fan, entry(2, "Uncorrectable ECC", SensorType="Memory", SensorNumber=83), entry(1, "")
    )
    told = (
        BmcEvent(2, "Memory #0x53", "Uncorrectable ECC", severity="critical"),
        BmcEvent(3, "Fan #0x41", "Lower Critical going low", severity="critical"),
    )
    reading = await read(tmp_path, bmc.access(), store)
    assert reading.events == told
    assert [(each.code, each.verdict) for each in judge([reading])] == [
        ("memory", Verdict.FAILED),
        ("fan", Verdict.DEGRADED),
    ]
    bmc.documents[LOG] = 500
    blind = await read(tmp_path, bmc.access(), store)
    assert (blind.events, blind.failure) == (told, f"{bmc.access().url}: {LOG} was answered with HTTP 500")


async def test_a_long_log_is_followed_to_its_newest_entries(tmp_path: Path, bmc: Bmc) -> None:
    pages = {
        f"{LOG}?page={page}": collection(*(entry(page * 50 + each, "") for each in range(50))) for page in range(4)
    }
    for page, following in zip(range(3), range(1, 4), strict=True):
        pages[f"{LOG}?page={page}"]["Members@odata.nextLink"] = f"{LOG}?page={following}"
    bmc.documents |= pages | {LOG: pages[f"{LOG}?page=0"]}
    store = MemoryStore({LOG: {"last_record": 0, "events": []}})
    told = (await read(tmp_path, bmc.access(), store)).events
    assert [event.record for event in told] == list(range(200 - MOST_ENTRIES, 200))


async def test_a_log_that_begins_with_its_newest_entries_is_not_read_to_its_end(tmp_path: Path, bmc: Bmc) -> None:
    page = collection(*(entry(number, "") for number in range(300, 200, -1)))
    bmc.documents[LOG] = page | {"Members@odata.nextLink": f"{LOG}?page=2"}
    assert (await read(tmp_path, bmc.access())).failure == ""
    assert f"{LOG}?page=2" not in bmc.asked


async def test_a_bmc_that_can_is_asked_for_the_end_of_its_log_alone(tmp_path: Path, bmc: Bmc) -> None:
    bmc.documents[ROOT] |= {"ProtocolFeaturesSupported": {"TopSkipQuery": True}}
    bmc.documents[LOG] = collection(entry(1, ""), entry(2, "")) | {"Members@odata.count": 5000}
    bmc.documents[f"{LOG}?$skip=4900"] = collection(entry(5000, ""))
    store = MemoryStore({LOG: {"last_record": 2, "events": []}})
    assert [event.record for event in (await read(tmp_path, bmc.access(), store)).events] == [5000]


async def test_a_bmc_that_can_expands_its_collections(tmp_path: Path, bmc: Bmc) -> None:
    expand = {"ProtocolFeaturesSupported": {"ExpandQuery": {"NoLinks": True}}}
    tree = bmc.documents
    for path, document in [(path, each) for path, each in tree.items() if "Members" in each]:
        members = [tree[each["@odata.id"]] for each in document["Members"] if each["@odata.id"] in tree]
        tree[f"{path}?$expand=."] = collection(*members)
    plain = await read(tmp_path, bmc.access())
    tree[ROOT] |= expand
    bmc.asked.clear()
    assert (await read(tmp_path, bmc.access())).sensors == plain.sensors
    assert CHASSIS not in bmc.asked


async def test_a_bmc_that_fails_to_expand_is_asked_plainly(tmp_path: Path, bmc: Bmc) -> None:
    plain = await read(tmp_path, bmc.access())
    bmc.documents[ROOT] |= {"ProtocolFeaturesSupported": {"ExpandQuery": {"NoLinks": True}}}
    assert replace(await read(tmp_path, bmc.access()), at_s=plain.at_s) == plain
    assert "/redfish/v1/Chassis?$expand=." in bmc.asked


async def test_a_log_that_grows_without_end_is_unknown(tmp_path: Path, bmc: Bmc) -> None:
    bmc.documents[LOG] = collection(entry(1, ""), entry(2, "")) | {"Members@odata.nextLink": LOG}
    assert "is longer than 10 pages and begins with its oldest entry" in (await read(tmp_path, bmc.access())).failure


async def test_a_bmc_that_closes_every_connection_is_read(tmp_path: Path, bmc: Bmc) -> None:
    bmc.closes = True
    for access in (bmc.access(), bmc.access(ca_file=None, fingerprint=bmc.fingerprint)):
        assert (await read(tmp_path, access)).failure == ""


async def test_it_is_known_by_its_fingerprint_or_by_nothing_when_that_is_asked_for(tmp_path: Path, bmc: Bmc) -> None:
    for known in ({"fingerprint": bmc.fingerprint}, {"verify": False}):
        assert (await read(tmp_path, bmc.access(ca_file=None, **known))).failure == ""


async def test_nobody_else_learns_the_password(tmp_path: Path, bmc: Bmc) -> None:
    another = write_certificate(tmp_path)
    strange = await read(tmp_path, bmc.access(ca_file=None))
    forged = await read(tmp_path, bmc.access(ca_file=tmp_path / "cert.pem"))
    pinned = await read(tmp_path, bmc.access(ca_file=None, fingerprint=another))
    assert bmc.asked == []
    for reading in (strange, forged):
        assert "its certificate is not trusted: self-signed certificate" in reading.failure
        assert "in ca_file, or the certificate's SHA-256 in fingerprint" in reading.failure
    assert f"its certificate has the SHA-256 {bmc.fingerprint}, and fingerprint says {another}" in pinned.failure


async def test_what_cannot_be_asked_is_unknown_and_says_what_is_right(tmp_path: Path, bmc: Bmc) -> None:
    (port,) = free_ports(1)
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("guessed")
    nowhere = await read(tmp_path, bmc.access(url=f"https://127.0.0.1:{port}"))
    refused = await read(tmp_path, bmc.access(password_file=wrong))
    unread = await read(tmp_path, bmc.access(password_file=tmp_path / "none"))
    no_ca = await read(tmp_path, bmc.access(ca_file=wrong))
    rights = ("Connection refused: url has to be", "(HTTP 401): user and password_file have to", "none: No such", "PEM")
    for reading, right in zip((nowhere, refused, unread, no_ca), rights, strict=True):
        assert reading.failure.startswith("https://127.0.0.1:")
        assert right in reading.failure
        assert PASSWORD not in reading.failure
        assert {(each.code, each.verdict) for each in judge([reading])} == {("unreadable", Verdict.UNKNOWN)}


async def test_a_bmc_that_never_answers_is_left_at_the_deadline(tmp_path: Path, bmc: Bmc) -> None:
    bmc.documents[f"{CHASSIS}/Thermal"] = HANG
    reading = await read(tmp_path, bmc.access(), within_s=1.0)
    assert f"{CHASSIS}/Thermal: no answer within" in reading.failure
    assert [sensor.name for sensor in reading.sensors][:2] == ["Self PSU1", "Self PSU2"]


async def test_nothing_is_started_behind_a_process_that_does_not_die(tmp_path: Path, bmc: Bmc) -> None:
    bmc.documents[f"{CHASSIS}/Power"] = HANG
    killed: list[int] = []
    slot = Slot(kill=lambda group, _: killed.append(abs(group)), kill_limit_s=0.05)
    source = RedfishBmc(surroundings_at(tmp_path), bmc.access(), make_slot=lambda: slot)
    for deadline_s in (1.0, 30.0):
        with pytest.raises(CannotObserve, match="does not die of SIGKILL") as caught:
            await source.read(deadline_s)
        assert caught.value.stuck
    os.killpg(killed[0], signal.SIGKILL)
    await eventually("the process is gone", lambda: not slot.stuck)


async def test_a_server_that_says_nothing_in_tls_is_left_at_the_deadline(tmp_path: Path, bmc: Bmc) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        access = bmc.access(url=f"https://127.0.0.1:{silent.getsockname()[1]}")
        assert "no answer within" in (await read(tmp_path, access, within_s=0.5)).failure


@pytest.mark.parametrize(
    ("path", "answer", "failure"),
    [
        (ROOT, b"<html>", "is no JSON: Expecting value"),
        (ROOT, {"Name": "camera"}, "names neither Chassis nor Systems"),
        (ROOT, 404, "was answered with HTTP 404"),
        (f"{CHASSIS}/Power", b"[" * 5000, "is no JSON"),
        (f"{CHASSIS}/Power", b"NaN", "is no JSON"),
        (f"{CHASSIS}/Power", b" " * (1 << 20) + b"{}", "is longer than 1024 KiB"),
        (f"{CHASSIS}/Power", [], "is no object"),
        (f"{CHASSIS}/Power", {"PowerSupplies": 3}, "PowerSupplies is no list of objects"),
        (f"{CHASSIS}/Power", {"PowerSupplies": [{"Status": {"Health": "Fine"}}]}, "has the health 'Fine'"),
        ("/redfish/v1/Chassis", {"Name": "Chassis"}, "/redfish/v1/Chassis has no Members"),
        ("/redfish/v1/Chassis", collection("https://elsewhere/redfish/v1"), "a link leads to 'https://elsewhere"),
        ("/redfish/v1/Chassis", collection("/redfish/v1/a\r\nHost: b"), "a link leads to"),
        (LOG, collection({"Id": "a", "Message": "b"}), "an entry has no number in its Id and no time in Created"),
    ],
)
async def test_a_foreign_answer_is_unknown(tmp_path: Path, bmc: Bmc, path: str, answer: object, failure: str) -> None:
    bmc.documents[path] = answer
    reading = await read(tmp_path, bmc.access())
    assert reading.failure.startswith(bmc.access().url)
    assert failure in reading.failure
    assert [each.verdict for each in judge([reading])] == [Verdict.UNKNOWN]


async def test_a_tree_without_any_health_is_unknown(tmp_path: Path) -> None:
    tree = {
        ROOT: {"Chassis": link("/redfish/v1/Chassis")},
        "/redfish/v1/Chassis": collection(CHASSIS),
        CHASSIS: {"Id": "1"},
    }
    with running_bmc(tmp_path / "bmc", tree) as bmc:
        assert "no part there tells its health" in (await read(tmp_path, bmc.access())).failure


async def test_an_emulator_that_others_wrote_gives_no_false_finding(tmp_path: Path) -> None:
    with running_emulator(tmp_path / "emulator") as access:
        reading = await read(tmp_path, access)
    assert reading.failure == ""
    assert {sensor.kind for sensor in reading.sensors} == {"fan", "temperature", "system"}
    assert judge([reading]) == ()


async def test_ipmi_is_not_asked_beside_redfish(tmp_path: Path, bmc: Bmc) -> None:
    write_files(tmp_path, {"dev/ipmi0": ""})
    tools = write_program(tmp_path / "bin", "ipmitool", f"touch {tmp_path}/asked; exit 1").parent
    surroundings = surroundings_at(tmp_path, tools=tools, redfish=bmc.access())
    assert (await BmcSource(surroundings, SOON).read()).failure == ""
    assert not (tmp_path / "asked").exists()


def test_parts_of_one_name_are_told_apart_by_their_ids() -> None:
    fans = [{"Name": "Fan", "MemberId": str(number), "Status": WELL} for number in range(3)]
    walk = walked({f"{CHASSIS}/Thermal": {"Fans": fans}})
    assert [each.name for each in walk.sensors if each.kind == "fan"] == ["Self Fan", "Self Fan (1)", "Self Fan (2)"]


def test_a_log_without_an_order_is_read_to_its_end() -> None:
    first = collection(*({"Id": f"a{number}b", "Created": "2026-11-02T00:00:00Z"} for number in range(MOST_ENTRIES)))
    last = collection({"Id": "new", "Created": "2026-11-03T00:00:00Z", "Message": "news"})
    walk = walked({LOG: first | {"Members@odata.nextLink": f"{LOG}?page=2"}, f"{LOG}?page=2": last})
    assert walk.logs[LOG][-1].event == "news"


def test_a_log_of_links_alone_is_asked_entry_by_entry() -> None:
    walk = walked({LOG: collection(f"{LOG}/1", f"{LOG}/2"), f"{LOG}/1": entry(1, "a"), f"{LOG}/2": entry(2, "b")})
    assert [event.event for event in walk.logs[LOG]] == ["a", "b"]


def test_entries_that_are_named_by_their_time_keep_their_order() -> None:
    walk = walked(
        {LOG: collection(*(entry(1, "") | {"Id": name} for name in ("1700000000", "1700000000_1", "1700000001")))}
    )
    assert [event.record for event in walk.logs[LOG]] == [1700000000000, 1700000000001, 1700000001000]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PATHS = sorted(older_tree())
KEYS = [
    "Members",
    "Members@odata.nextLink",
    "Members@odata.count",
    "Status",
    "PowerSupplies",
    "Fans",
    "Redundancy",
    "Chassis",
]
KEYS += ["@odata.id", "Id", "Entries", "Processors", "LogServices", "ProtocolFeaturesSupported", "Name", "Power"]


def walked(changed: dict[str, Any]) -> Walk:
    """Return a walk through a host in order with some documents changed, taken to its end."""
    tree = older_tree() | changed
    asked: list[str] = []

    async def get(path: str) -> Document:
        asked.append(path)
        document = tree.get(path)
        if not isinstance(document, dict):
            raise Flawed(f"{path} is no object")
        return document

    walk = Walk(get)
    try:
        run_to_end(walk.run)
    except CannotObserve as error:
        walk.flaws.append(str(error))
    assert len(asked) <= MOST_QUESTIONS
    return walk


def run_to_end(work: Callable[[], Awaitable[None]]) -> None:
    """Run what never waits for anything."""
    with pytest.raises(StopIteration):
        work().__await__().send(None)


@given(st.sampled_from(PATHS), JSON)
def test_any_document_is_read_or_flawed(path: str, document: object) -> None:
    walk = walked({path: document})
    assert all(sensor.status in {"ok", "nc", "cr", "ns"} and sensor.name.isprintable() for sensor in walk.sensors)
    assert all(flaw.isprintable() for flaw in walk.flaws)
    if not isinstance(document, dict):
        assert walk.flaws


@given(st.sampled_from(PATHS), st.sampled_from(KEYS), JSON)
def test_any_value_of_a_known_key_is_read_or_flawed(path: str, key: str, value: object) -> None:
    changed = older_tree()[path] | {key: value}
    walk = walked({path: changed})
    reading = BmcReading(0.0, True, walk.sensors, tuple(each for log in walk.logs.values() for each in log))
    assert all(finding.because.isprintable() for finding in judge([reading]))


@given(JSON)
def test_any_health_of_a_supply_is_never_ok_unless_it_says_so(value: object) -> None:
    power = {"PowerSupplies": [{"Name": "PSU1", "Status": value}]}
    walk = walked({f"{CHASSIS}/Power": power})
    supplies = [sensor.status for sensor in walk.sensors if sensor.kind == "supply"]
    assert "ok" not in supplies or value == WELL or walk.flaws


def test_chassis_that_show_the_same_parts_tell_them_once() -> None:
    tree = older_tree()
    other = "/redfish/v1/Chassis/Other"
    walk = walked({"/redfish/v1/Chassis": collection(CHASSIS, other), other: tree[CHASSIS] | {"Id": "Other"}})
    assert [sensor.name for sensor in walk.sensors if sensor.serial] == ["Self PSU1", "Self PSU2"]
