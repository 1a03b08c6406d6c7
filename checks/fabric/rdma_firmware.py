"""`fabric.rdma_firmware`: adapters whose firmware differs from that of the same model beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.rdma_adapters import about, model, usual
from checks.readings import RdmaAdapter, RdmaAdaptersReading

ID = "fabric.rdma_firmware"

NO_ANSWER = "65535.65535"
"""What mlx5 shows of an adapter that is no longer on the bus: every bit that it reads is set. Source: Linux
drivers/net/ethernet/mellanox/mlx5/core/fw.c, `fw_rev_maj`."""


def judge(readings: Sequence[RdmaAdaptersReading]) -> tuple[Finding, ...]:
    """Return every adapter that differs from most of its model; where no version is so common, all that are not alike.

    A driver that names no model (EFA) tells no firmware either; a virtual function has that of its physical one.
    """
    adapters = [each for each in readings[-1].adapters if model(each) and not each.is_virtual]
    return tuple(finding for adapter in adapters for finding in _judge_adapter(adapter, adapters))


def _judge_adapter(adapter: RdmaAdapter, adapters: Sequence[RdmaAdapter]) -> Iterator[Finding]:
    mine = _version(adapter)
    if not mine:
        because = f"the firmware version of {adapter.name} ({model(adapter)}) cannot be read"
        yield about(ID, adapter, "unreadable", Verdict.UNKNOWN, Action.NONE, because)
        return
    versions = [_version(each) for each in adapters if model(each) == model(adapter) and _version(each)]
    others = {*versions} - {mine}
    if others and mine != usual(versions):
        theirs = ", ".join(sorted(others))
        because = f"firmware {mine}, on other adapters of the model {model(adapter)} on this host {theirs}"
        yield about(ID, adapter, "differs", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, because)


def _version(adapter: RdmaAdapter) -> str:
    return "" if adapter.firmware.startswith(NO_ANSWER) else adapter.firmware


CHECK = LevelCheck(
    id=ID,
    summary="RDMA adapters whose firmware differs from that of the same model beside them.",
    reading=RdmaAdaptersReading,
    judge=judge,
    outcomes=(Outcome("unreadable", Verdict.UNKNOWN), Outcome("differs", Verdict.DEGRADED, Action.UPDATE_SOFTWARE)),
    thresholds={"fw_ver": "the same on all adapters of a board (PSID), else of a chip"},
)
