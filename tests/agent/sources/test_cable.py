"""What `mlxlink` prints of cables, in several forms, hosts without it, adapters that hang, and any text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.cable import ASK, CableSource
from agent.sources.module_info import FLAGS, MEASURES, parse_module
from agent.sources.source import Timing
from checks.errors import CannotObserve
from checks.fabric.cable import CHECK, judge
from checks.readings import CableModule, CableReading, ModuleMeasure
from tests.support.captured import captured, write_tool
from tests.support.memory_store import MemoryStore
from tests.support.rdma_adapters import add_adapter
from tests.support.surroundings import SOON, deadline, surroundings_at, write_program

FACTS = ("mlx5_0/1", "b83f:d203:00ab:cd00", "0000:10:00", 4, 5)
MODULE = CableModule(*FACTS, was_up=True)
FAILURE = (
    "\x1b[31m\n-E- Checking valid firmware raised the following exception: Failed to send access register: "
    "ICMD error 0x4\n\n\x1b[0m\n"
)
EMPTY = (
    '{ "result" : { "output" : { "Module Info" : { "Identifier" : "N/A", "Vendor Name" : "N/A", '
    '"Rx Power Current [dBm]" : "N/A" } } }, "status" : { "code" : 0 } }'
)
DENIED = "-E- Failed to open device 0000:10:00.0: Permission denied\n"


def source_at(root: Path, timing: Timing = SOON, store: MemoryStore | None = None) -> CableSource:
    (root / "bin").mkdir(exist_ok=True)
    if not (root / "bin/grep").exists():
        (root / "bin/grep").symlink_to(shutil.which("grep") or "")
    return CableSource(surroundings_at(root, store, tools=root / "bin"), timing)


def write_mlxlink(root: Path, name: str = "mlxlink", **texts: str) -> None:
    """Let the program print a text for each adapter: `mlx5_0` at 0000:10:00.0 is `p10`."""
    answers = {f"-d 0000:{place[1:]}:00.0 {' '.join(ASK)}": text for place, text in texts.items()}
    write_tool(root / "bin", name, answers)


async def test_each_module_is_read_as_it_was_published(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0")
    add_adapter(tmp_path, 1, "eth1")
    write_mlxlink(tmp_path, p10=captured("mlxlink-cx7.json"), p11=captured("mlxlink-cx8.json"))
    source = source_at(tmp_path)
    first, second = (await source.read()).modules
    assert (first.name, first.node_guid, first.pci, first.state, first.phys_state) == FACTS
    assert first.flags["rx_los"] == (0, 0, 1, 0)
    assert (first.flags["module_fw_fault"], first.module_state, first.effective_ber) == ((0,), "Ready state", 0.0)
    assert first.measures[0] == ModuleMeasure("temperature_celsius", (49.0,), -10.0, 80.0)
    assert (second.vendor, second.part, second.serial) == ("ACCELINK", "RTXM600-2401", "MODSN0001")
    assert second.measures[2] == ModuleMeasure("rx_power_dbm", (0.0, 2.0, -9.0, 0.0), -8.0, 6.0)
    assert (second.flags, second.effective_ber, second.unreadable) == ({}, None, "")
    await source.close()


async def test_the_same_tool_under_its_other_name(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0")
    write_mlxlink(tmp_path, "mstlink", p10=captured("mlxlink-cx8.json"))
    (module,) = (await source_at(tmp_path).read()).modules
    assert module.serial == "MODSN0001"


@pytest.mark.parametrize("value", [["0", "1"], [0, 1], {"values": ["0", "1"]}, "0,1", "0,1 [0..1]"])
def test_lanes_come_in_several_forms(value: object) -> None:
    document = {"result": {"output": {"Module Info": {"Rx LOS [per lane]": value, "Bias Current [mA]": value}}}}
    module = parse_module(MODULE, json.dumps(document))
    assert module.flags == {"rx_los": (0, 1)}
    assert module.measures[0].values == (0.0, 1.0)


def test_a_lane_that_says_nothing_makes_all_of_them_say_nothing() -> None:
    told = {"Rx LOS [per lane]": {"values": ["0", "N/A"]}, "Bias Current [mA]": "7,N/A [7..11]", "Vendor Name": "X"}
    module = parse_module(MODULE, json.dumps({"result": {"output": {"Module Info": told}}}))
    assert (module.flags, module.measures, module.vendor) == ({}, (), "X")


def test_no_limits_are_no_limits() -> None:
    told = {"Temperature [C]": "41 [0..0]"}
    (measure,) = parse_module(MODULE, json.dumps({"result": {"output": {"Module Info": told}}})).measures
    assert measure == ModuleMeasure("temperature_celsius", (41.0,))


def test_an_empty_cage_is_silent() -> None:
    module = parse_module(MODULE, EMPTY)
    assert module.silent
    assert judge([CableReading(5.0, (module,))]) == ()


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (FAILURE, "-E- Checking valid firmware raised the following exception: Failed to send access register: ICMD"),
        ('{"status": {"code": 1, "message": "FW does not support this"}}', "FW does not support this"),
        ("", "it said nothing"),
    ],
)
def test_what_is_no_answer_is_unknown(printed: str, said: str) -> None:
    with pytest.raises(CannotObserve, match="tells nothing of the module: ") as raised:
        parse_module(MODULE, printed)
    assert said in str(raised.value)
    assert "\x1b" not in str(raised.value)


async def test_other_vendors_and_virtual_functions_are_not_asked(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0", vendor="0x14e4")
    add_adapter(tmp_path, 1, "eth1", is_virtual=True)
    add_adapter(tmp_path, 2, "eth2", device="0x101e")
    write_program(tmp_path / "bin", "mlxlink", "echo asked; exit 1")
    assert await source_at(tmp_path).read() == CableReading(5.0)


async def test_a_host_without_the_tool_is_nobodys_fault(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0")
    reading = await source_at(tmp_path).read()
    assert reading == CableReading(5.0, missing_tools=("mlxlink",))
    assert judge([reading]) == ()


async def test_a_port_is_in_use_once_it_was_up(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        add_adapter(tmp_path, number, f"eth{number}", state="1: DOWN" if number else "4: ACTIVE")
    write_mlxlink(tmp_path, p10=EMPTY, p11=EMPTY, p12=EMPTY)
    store = MemoryStore()
    store.save({"known_ports": {"mlx5_1/1": 400.0}})
    modules = (await source_at(tmp_path, store=store).read()).modules
    assert [module.was_up for module in modules] == [True, True, False]


async def test_a_lack_of_rights_is_told_once(tmp_path: Path) -> None:
    for number in (0, 1):
        add_adapter(tmp_path, number, f"eth{number}")
    write_mlxlink(tmp_path, p10=DENIED, p11="-E- You must be root to use this tool\n")
    reading = await source_at(tmp_path).read()
    assert (reading.modules, reading.denied) == ((), ("mlx5_0/1", "mlx5_1/1"))


async def test_an_adapter_that_hangs_leaves_the_others_alone_and_is_asked_last(tmp_path: Path) -> None:
    for number in (0, 1):
        add_adapter(tmp_path, number, f"eth{number}")
    (tmp_path / "text").write_text(captured("mlxlink-cx8.json"))
    asked, sleep, cat = tmp_path / "asked", shutil.which("sleep"), shutil.which("cat")
    script = f'echo "$2" >>{asked}\ncase "$2" in *:10:*) exec {sleep} 60 ;; *) exec {cat} {tmp_path}/text ;; esac'
    write_program(tmp_path / "bin", "mlxlink", script)
    source = source_at(tmp_path, deadline(1.0))
    hung, _ = (await source.read()).modules
    assert "no answer within" in hung.unreadable
    await source.read()
    assert asked.read_text().splitlines() == [f"0000:{place}:00.0" for place in ("10", "11", "11", "10")]
    await source.close()


KEYS = st.sampled_from([*MEASURES.values(), *FLAGS.values(), "values", "Vendor Name", "Vendor Serial Number"])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(["0", "1", "9 [1..2]"])
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)
documents = st.dictionaries(KEYS, values, max_size=8).map(
    lambda told: json.dumps({"result": {"output": {"Module Info": told}}})
)
printed = st.one_of(st.text(max_size=300), documents, st.sampled_from(["[" * 5000, '{"a":' * 5000, "{}", EMPTY[:40]]))


@settings(max_examples=300, deadline=None)
@given(printed)
def test_any_text_is_understood_or_an_error(text: str) -> None:
    try:
        module = parse_module(MODULE, text)
    except CannotObserve as error:
        assert "tells nothing of the module" in str(error)
        return
    assert module.silent or module.flags or module.measures or module.serial or module.part or module.vendor
    assert (module.vendor + module.part + module.serial + module.module_state).isprintable()
    for finding in judge([CableReading(5.0, (module,))]):
        assert any(outcome.covers(finding) for outcome in CHECK.outcomes)
