"""The whole loop without any scheduler: nodes that hold themselves, over a real Mosquitto, with real processes.

A launcher looks at the flag file before it starts work. A drill breaks n2: the flag is there before the repair begins,
outlives the reboot that mends the node, and is gone when n2 is in service again. n1, which an operator holds, is left
to the operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until

pytestmark = pytest.mark.timeout(300)

BY_HAND = "memory test by hand"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCell]:
    require_mosquitto()
    state = tmp_path_factory.mktemp("cell")
    with EmbeddedCell(state, simulate=2, scheduler="node") as embedded:
        yield embedded


def flags(cell: EmbeddedCell, node: str) -> Path:
    """Return where the node's flag files are."""
    (machine,) = (path for path in cell.state.glob(f"**/{node}/machine.json") if path.is_file())
    return machine.parent / "run/fleetmend"


def test_a_broken_node_takes_no_work_until_it_is_mended(cell: EmbeddedCell) -> None:
    until("n2 says who holds it", lambda: cell.node("n2")["schedulable"])
    cell.drill("gpu-off-bus", "n2")
    held = flags(cell, "n2") / "held"
    flag = until("n2 is held", lambda: json.loads(held.read_text()) if held.exists() else None)
    incident = cell.incident_ended("n2")
    assert (flag["incident"], incident["outcome"]) == (incident["id"], "returned")
    assert flag["reason"]
    assert not held.exists()
    until("the page shows n2 in service", lambda: cell.node("n2")["schedulable"])
    texts = [entry["text"] for entry in cell.get(f"/incidents/{incident['id']}")["timeline"]]
    for step in ("cordon", "drain", "collect", "reboot", "verify", "probation", "uncordon"):
        assert f"{step.capitalize()} done" in texts


def test_a_node_that_an_operator_holds_is_never_touched(cell: EmbeddedCell) -> None:
    folder = flags(cell, "n1")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "held-by-operator").write_text(f"{BY_HAND}\n")
    until("the hold is seen", lambda: BY_HAND in cell.get("/nodes/n1")["foreign_reason"])
    cell.drill("gpu-off-bus", "n1")
    waiting = until("the incident waits", lambda: [i for i in cell.incidents("n1") if i["state"] == "waiting"])
    assert cell.get(f"/incidents/{waiting[0]['id']}")["waiting_for"] == "foreign hold"
    assert cell.cli("abort", waiting[0]["id"]).returncode == 0
    assert [file.name for file in folder.iterdir()] == ["held-by-operator"]
