"""`fabric.rdma_devices`: adapters that the kernel knows and programs cannot open.

The port is ACTIVE then and every counter calm: only the job that wants to open the adapter sees that it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import EVERYWHERE, Policy
from checks.rdma_adapters import about, is_infiniband, is_roce, ports_of
from checks.readings import AdapterPort, RdmaAdapter, RdmaAdaptersReading

ID = "fabric.rdma_devices"
FOLDER = "/dev/infiniband"
BOOT_GRACE_S = 300.0
"""Source: our choice; udev and the services that load the modules are done within minutes."""


def judge(readings: Sequence[RdmaAdaptersReading]) -> tuple[Finding, ...]:
    """Return every adapter without its character devices."""
    newest = readings[-1]
    if not newest.adapters:
        return ()
    if not newest.has_device_folder:
        because = f"there is no {FOLDER} where this agent looks: a container that was not given it, or no udev"
        return (Finding(ID, EVERYWHERE, "no_folder", Verdict.UNKNOWN, Action.NONE, because),)
    return (*_verbs(newest), *_management(newest), *_connection_manager(newest))


def _verbs(reading: RdmaAdaptersReading) -> Iterator[Finding]:
    without = [each for each in reading.adapters if not each.has_verbs_node and not _is_plane(each, reading)]
    for adapter in without:
        because = f"{_say_missing(adapter.verbs, 'uverbs')}: no program can open the adapter {adapter.name}"
        found = about(ID, adapter, "uverbs", Verdict.FAILED, Action.REBOOT, because)
        yield _of_host(found, len(reading.adapters)) if len(without) == len(reading.adapters) > 1 else found
        if len(without) == len(reading.adapters):
            return


def _is_plane(adapter: RdmaAdapter, reading: RdmaAdaptersReading) -> bool:
    """Return whether the adapter is there for management alone: a second one on the function of one with verbs.

    Source: Linux drivers/infiniband/core/uverbs_main.c: none is made for type SMI, the plane of a multi-plane port.
    """
    return not adapter.verbs and any(
        each.verbs and each.function == adapter.function and each.name != adapter.name for each in reading.adapters
    )


def _management(reading: RdmaAdaptersReading) -> Iterator[Finding]:
    """InfiniBand alone has a subnet manager and agents to talk to by this device."""
    ports = [owned for owned in ports_of(reading) if is_infiniband(owned)]
    without = [owned for owned in ports if not owned[1].has_management_node]
    for adapter, port in without:
        found = _unmanaged(adapter, port)
        yield _of_host(found, len(ports)) if len(without) == len(ports) > 1 else found
        if len(without) == len(ports):
            return


def _unmanaged(adapter: RdmaAdapter, port: AdapterPort) -> Finding:
    because = (
        f"{_say_missing(port.management, 'umad')}: diagnostics, counters and a subnet manager on this host cannot "
        f"reach the fabric by port {port.name}; is ib_umad loaded?"
    )
    return about(ID, adapter, "umad", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because, port=port)


def _connection_manager(reading: RdmaAdaptersReading) -> Iterator[Finding]:
    speaks_it = any(is_infiniband(owned) or is_roce(owned) for owned in ports_of(reading))
    if speaks_it and not reading.has_connection_manager:
        because = (
            f"{FOLDER}/rdma_cm is missing: programs that connect by address (UCX, MPI, storage) cannot; "
            "is rdma_ucm loaded?"
        )
        yield Finding(ID, EVERYWHERE, "rdma_cm", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)


def _say_missing(name: str, kind: str) -> str:
    """The kernel made a device for which there is no file, or it made none."""
    return f"{FOLDER}/{name} is missing" if name else f"the kernel made no {kind} device"


def _of_host(first: Finding, count: int) -> Finding:
    """Where none has it, the host's modules or rules are at fault and not each adapter for itself."""
    because = f"{first.because}; so it is with all {count} of this host"
    return Finding(ID, EVERYWHERE, first.code, first.verdict, first.action, because)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA adapters that the kernel knows, without the character devices by which programs open them.",
    reading=RdmaAdaptersReading,
    judge=judge,
    outcomes=(
        Outcome("uverbs", Verdict.FAILED, Action.REBOOT),
        Outcome("umad", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("rdma_cm", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("no_folder", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        boot_grace_s=BOOT_GRACE_S,
        because="devices come one by one after a boot and when a driver is loaded anew",
    ),
    thresholds={
        "uverbs": "one for every adapter",
        "umad": "one for every InfiniBand port",
        "rdma_cm": "one for the host, where there is InfiniBand or RoCE; EFA needs none",
    },
)
