"""`fabric.rdma_gid`: ports that are up and have no address by which a peer in another subnet could reach them.

A RoCE port takes its addresses from its network interface. Without one of IPv4 or global IPv6 it has only link-local
ones, which no router forwards: NCCL over routed RoCE waits until its connections time out, and no counter moves. A host
may have ports that are meant to have none: those of a bond or bridge, those that are lent to containers with their
interface, and those that nobody uses. So it is a fault where most ports of the same model here have an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.rdma_adapters import Owned, about, is_active, is_infiniband, is_roce, model, ports_of, usual
from checks.readings import AdapterPort, Gid, RdmaAdaptersReading

ID = "fabric.rdma_gid"
ROCE_V2 = "RoCE v2"
"""Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband, `gid_attrs/types`."""


def judge(readings: Sequence[RdmaAdaptersReading]) -> tuple[Finding, ...]:
    """Return every ACTIVE port without a usable address, or with it at another index than its siblings."""
    active = [owned for owned in ports_of(readings[-1]) if is_active(owned)]
    roce = [owned for owned in active if is_roce(owned)]
    return (
        *(finding for owned in active if is_infiniband(owned) for finding in _judge_infiniband(owned)),
        *(finding for owned in roce for finding in _judge_roce(owned, _siblings(owned, roce))),
    )


def _judge_infiniband(owned: Owned) -> Iterator[Finding]:
    adapter, port = owned
    if port.gids is None:
        yield _unreadable(owned, "its table of GIDs cannot be read")
        return
    first = next((address for gid in port.gids if gid.index == 0 and (address := parse(gid.address))), None)
    if first is None or not int(first) & (1 << 64) - 1:
        because = (
            f"GID 0 of the ACTIVE InfiniBand port {port.name} is empty: the port was given no GUID, so connections by "
            "address fail"
        )
        yield about(ID, adapter, "no_guid", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because, port=port)


def _judge_roce(owned: Owned, siblings: Sequence[Owned]) -> Iterator[Finding]:
    port = owned[1]
    if port.gids is None:
        yield _unreadable(owned, "its table of GIDs cannot be read")
    elif usable(port) is not None:
        yield from _misplaced(owned, siblings)
    elif any(not gid.type for gid in port.gids if gid.is_used):
        yield _unreadable(owned, "the type of its GIDs cannot be read")
    elif port.is_cut:
        yield _unreadable(owned, f"none of its first {len(port.gids)} GIDs is of use, and there are more")
    elif port.interface and not port.member_of:
        yield _without_address(owned, siblings)


def _without_address(owned: Owned, siblings: Sequence[Owned]) -> Finding:
    adapter, port = owned
    has_none = "only link-local ones" if _of_v2(port) else "none of RoCE v2"
    because = f"the ACTIVE RoCE port {port.name} ({port.interface}) has no address that is routed, {has_none}"
    with_one = sum(usable(each) is not None for _, each in siblings)
    verdict, action = Verdict.DEGRADED, Action.NONE
    if 2 * with_one > len(siblings):
        verdict, action = Verdict.FAILED, Action.CONTACT_SUPPORT
        because = f"{because}, where {with_one} of {len(siblings)} like it have one: NCCL cannot use it"
    return about(ID, adapter, "no_address", verdict, action, because, port=port, evidence=_table(port))


def _misplaced(owned: Owned, siblings: Sequence[Owned]) -> Iterator[Finding]:
    adapter, port = owned
    indexes = [gid.index for _, each in siblings if (gid := usable(each)) is not None]
    mine, common = usable(port), usual(indexes)
    if mine is not None and mine.index != common and {*indexes} != {mine.index}:
        theirs = ", ".join(str(index) for index in sorted({*indexes} - {mine.index}))
        because = (
            f"the routed RoCE v2 address of port {port.name} has index {mine.index}, on ports like it on this host "
            f"{theirs}: one NCCL_IB_GID_INDEX does not fit them all"
        )
        yield about(
            ID, adapter, "index", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because, port=port, evidence=_table(port)
        )


def _unreadable(owned: Owned, because: str) -> Finding:
    adapter, port = owned
    return about(ID, adapter, "unreadable", Verdict.UNKNOWN, Action.NONE, f"port {port.name}: {because}", port=port)


def _siblings(owned: Owned, roce: Sequence[Owned]) -> list[Owned]:
    """Return the ports of the same model whose interface is this host's, itself included.

    An interface that a container has taken cannot be seen here, and its addresses are the container's.
    """
    kind = model(owned[0])
    return [(adapter, port) for adapter, port in roce if model(adapter) == kind and port.interface]


def usable(port: AdapterPort) -> Gid | None:
    """Return the first RoCE v2 GID that stands for an IPv4 address, else for a global IPv6 address, `None` for none."""
    routed = [(gid, address) for gid in _of_v2(port) if (address := routed_address(gid)) is not None]
    of_ipv4 = [gid for gid, address in routed if isinstance(address, IPv4Address)]
    return next(iter([*of_ipv4, *(gid for gid, _ in routed)]), None)


def routed_address(gid: Gid) -> IPv4Address | IPv6Address | None:
    """Return the address that a GID stands for, `None` for one that no router forwards.

    Source: RFC 4291, section 2.5 (IPv4-mapped, link-local); InfiniBand Annex A17 (RoCEv2).
    """
    parsed = parse(gid.address)
    address = parsed.ipv4_mapped or parsed if parsed is not None else None
    if address is None or address.is_link_local or address.is_unspecified or address.is_loopback:
        return None
    return None if address.is_multicast else address


def parse(text: str) -> IPv6Address | None:
    """Return the GID as a number, `None` when it is none."""
    try:
        return IPv6Address(text)
    except ValueError:
        return None


def _of_v2(port: AdapterPort) -> list[Gid]:
    return [gid for gid in port.gids or () if gid.type == ROCE_V2]


def _table(port: AdapterPort) -> dict[str, str]:
    said = (f"{gid.index}: {gid.address} {gid.type} {gid.interface}".rstrip() for gid in port.gids or ())
    return {"interface": port.interface, "gids": "; ".join(said)}


CHECK = LevelCheck(
    id=ID,
    summary="ACTIVE RDMA ports without an address that peers can reach, or with it at another index than their like.",
    reading=RdmaAdaptersReading,
    judge=judge,
    outcomes=(
        Outcome("no_address", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("no_address", Verdict.DEGRADED),
        Outcome("index", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("no_guid", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        boot_grace_s=300.0,
        because="an interface gets its addresses some time after its link, from DHCP or whoever configures it",
    ),
    thresholds={
        "no_address": "RoCE v2, IPv4 or global IPv6; failed where most ports of the model on this host have one",
        "index": "the same on all ports of a model (our choice; NCCL_IB_GID_INDEX is one number for all)",
        "no_guid": "InfiniBand: GID 0 ends in the port's GUID (InfiniBand specification)",
    },
)
