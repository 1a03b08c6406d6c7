"""What an order can inject is what a node knows to inject."""

from __future__ import annotations

from agent.simulation.faults import FAULTS
from wire import drills


def test_every_fault_of_the_agent_can_be_asked_for_by_its_name() -> None:
    assert tuple(fault.name for fault in FAULTS) == drills.FAULTS
