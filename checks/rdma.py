"""What checks over RDMA ports have in common: the vocabulary of a port's state, and whose state can be trusted."""

from __future__ import annotations

from checks.readings import RdmaPort, RdmaReading

STATES = {0: "NOP", 1: "DOWN", 2: "INIT", 3: "ARMED", 4: "ACTIVE", 5: "ACTIVE_DEFER"}
"""Source: Linux include/rdma/ib_verbs.h, `enum ib_port_state`."""

PHYS_STATES = {
    1: "Sleep",
    2: "Polling",
    3: "Disabled",
    4: "PortConfigurationTraining",
    5: "LinkUp",
    6: "LinkErrorRecovery",
    7: "Phy Test",
}
"""Source: Linux include/rdma/ib_verbs.h, `enum ib_port_phys_state`."""

INTERFACE_DOWN = frozenset({"down", "lowerlayerdown", "notpresent"})
"""Source: Linux Documentation/ABI/testing/sysfs-class-net, `operstate` (RFC 2863): these carry no packet."""

ACTIVE = 4
DISABLED = 3
LINK_UP = 5

_EFA_NAMES = ("efa", "rdmap")
_STATEFUL_LAYERS = ("InfiniBand", "Ethernet")


def is_state_constant(port: RdmaPort) -> bool:
    """Return whether the driver always says ACTIVE, so that its state and rate prove nothing.

    Source: Linux drivers/infiniband/hw/efa/efa_verbs.c, `efa_query_port`, which hard-codes them.
    """
    return port.name.startswith(_EFA_NAMES) and port.link_layer not in _STATEFUL_LAYERS


def is_interface_down(port: RdmaPort) -> bool:
    """Return whether the port's traffic goes over a network interface that is down.

    InfiniBand does not need its IPoIB interface; RoCE, and drivers whose port state is a constant, do.
    """
    return port.link_layer != "InfiniBand" and port.operstate in INTERFACE_DOWN


def is_up(port: RdmaPort) -> bool:
    """Return whether the port can carry traffic; a file that cannot be read counts for neither side."""
    return port.state in (None, ACTIVE) and port.phys_state in (None, LINK_UP)


def is_blind(port: RdmaPort) -> bool:
    """Return whether the port's state could not be read at all."""
    return port.state is None and port.phys_state is None


def say_state(port: RdmaPort) -> str:
    """Return the state in the driver's words."""
    state = "unreadable" if port.state is None else STATES.get(port.state, str(port.state))
    phys = "unreadable" if port.phys_state is None else PHYS_STATES.get(port.phys_state, str(port.phys_state))
    return f"{state}/{phys}"


def port_of(reading: RdmaReading, name: str) -> RdmaPort | None:
    """Return the port of this name, `None` when it is not there."""
    return next((port for port in reading.ports if port.name == name), None)
