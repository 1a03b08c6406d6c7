"""Orders to nodes: what may be asked, and when a node must refuse. How they are signed: wire/signatures.py.

The set of actions is closed. A node obeys only an order that is signed by a key it trusts, addressed to it, inside its
time window, never seen before, and on the node's own allow-list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wire.messages import Refused


class OrderAction(StrEnum):
    """Everything a node can be asked to do to itself."""

    RUN_CHECKS = "run_checks"
    COLLECT = "collect"
    REACH = "reach"
    RESTART_SERVICE = "restart_service"
    RESET_GPU = "reset_gpu"
    RELOAD_DRIVER = "reload_driver"
    REBOOT = "reboot"
    BENCH = "bench"
    HOLD = "hold"
    RELEASE = "release"
    INJECT_FAULT = "inject_fault"


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Attributes:
        order_id: unique for ever; the controller uses (incident, step, attempt), which makes an order at most once.
        device: what it is about, empty for the node as a whole.
        parameters: action-specific: `service`, `fault`, `checks` and `addresses` (comma-separated), `neighbours`,
            `force`, `reason`, `wish` and `stop` (wire/bench.py).
        issued_at, expires_at: Unix time; outside of them the order is refused.
        fencing_token: the leadership term of the controller that gave it; a lower one than seen before is refused.
    """

    order_id: str
    node: str
    action: OrderAction
    issued_at: float
    expires_at: float
    fencing_token: int
    device: str = ""
    incident_id: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What every version can read of an order, whatever it asks for."""

    order_id: str
    node: str
    action: str
    expires_at: float


class UnknownAction(Refused):
    """An order that a trusted key signed, for something that this version cannot do."""

    def __init__(self, order: Letterhead) -> None:
        super().__init__(f"this agent's version does not know the action {order.action[:60]!r}: update it")
        self.order = order


MAX_CLOCK_SKEW_S = 30.0
"""How far ahead of the node's clock an order may have been issued."""


def check_acceptable(order: Order, *, node: str, now: float, allowed: frozenset[OrderAction], last_token: int) -> None:
    """Return if this node may carry out this order now; whether it was seen before is the caller's to know.

    Raises:
        Refused: wrong addressee, too early, too late, overtaken by a newer controller, or not on the allow-list.
    """
    if order.node != node:
        raise Refused(f"addressed to {order.node!r}, this is {node!r}")
    if order.issued_at > now + MAX_CLOCK_SKEW_S:
        raise Refused(f"issued {order.issued_at - now:.0f} s in the future; clocks differ too much")
    if order.expires_at <= now:
        raise Refused(f"expired {now - order.expires_at:.0f} s ago")
    if order.fencing_token < last_token:
        raise Refused(f"fencing token {order.fencing_token} is older than {last_token}: another controller leads")
    if order.action not in allowed:
        raise Refused(f"{order.action} is not on this node's allow-list ({', '.join(sorted(allowed)) or 'empty'})")
