"""The configuration files that `fleetmend up` writes for the processes it starts: ordinary files, worth reading."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from controller.access.roles import Role
from controller.access.tokens import changing, new_token
from controller.settings import load

SET_HERE = frozenset({"state", "simulated_speedup", "broker", "http", "budget", "scheduler", "playbooks"})
"""Keys of the controller's configuration that `fleetmend up` has options for, or decides itself."""

OWNER = "up"
"""Who started the cell, as the log calls them where people have to say who they are."""

TOKEN_S = 365 * 86_400.0

HOST_ORDERS = ("run_checks", "collect", "reach")
"""This very host is watched but never reset or rebooted by `fleetmend up`."""

SIMULATED_ORDERS = (
    "run_checks",
    "collect",
    "reach",
    "restart_service",
    "reset_gpu",
    "reload_driver",
    "reboot",
    "hold",
    "release",
    "bench",
    "inject_fault",
)


@dataclass(frozen=True, slots=True)
class Access:
    """How one client reaches the broker. `password` goes into a file of its own, readable by its owner alone."""

    url: str
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class ControllerPlan:
    """What the embedded controller is told."""

    state: Path
    host: str
    port: int
    scheduler: str
    hook: Path | None
    budget: str
    speedup: float
    playbooks: Path | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further settings, none of them in SET_HERE."""


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """What one embedded agent is told.

    Attributes:
        simulation: directory of its simulated machine, `None` for this host.
        places: kind → name of where it stands.
        metrics_port: where it is scraped, 0 for nowhere.
    """

    node: str
    state: Path
    orders: tuple[str, ...]
    key_id: str
    public_key: str
    simulation: Path | None = None
    accept_userspace_records: bool = False
    places: Mapping[str, str] = field(default_factory=dict)
    metrics_port: int = 0


def write_controller(plan: ControllerPlan, access: Access) -> Path:
    """Write the controller's configuration; return its path."""
    scheduler = {"kind": plan.scheduler} | ({"hook": str(plan.hook)} if plan.hook else {})
    return _write(
        plan.state / "controller.toml",
        {
            "state": str(plan.state),
            "simulated_speedup": plan.speedup,
            "broker": _broker(plan.state, access),
            "http": {"host": plan.host, "port": plan.port},
            "budget": _budget(plan.budget),
            "scheduler": scheduler,
            "evidence": {"where": "controller"},
            **({"playbooks": str(plan.playbooks.absolute())} if plan.playbooks else {}),
            **plan.more,
        },
    )


def write_token(config: Path) -> Path | None:
    """Make the token of whoever started the cell, who may do all; the one of the start before opens nothing any more.

    Args:
        config: the controller's settings.

    Returns:
        Its file, which its owner alone reads; `None` where the controller asks nobody who they are.
    """
    settings, now = load(config), time.time()
    if settings.access is None:
        return None
    kept, text = new_token(OWNER, list(Role), now=now, expires_at=now + TOKEN_S)
    with changing(settings.access.tokens_in(settings.state)) as tokens:
        tokens[:] = [*(each for each in tokens if each.name != OWNER), kept]
    file = config.with_name("token")
    file.touch(0o600)
    file.write_text(f"{text}\n")
    return file


def write_agent(plan: AgentPlan, access: Access) -> Path:
    """Write an agent's configuration; return its path."""
    table: dict[str, Any] = {
        "node": plan.node,
        "state_directory": str(plan.state),
        "orders_allowed": list(plan.orders),
        "broker": _broker(plan.state, access),
        "trusted_keys": {plan.key_id: {"public_key": plan.public_key}},
        "kernel_log": {"accept_userspace_records": plan.accept_userspace_records},
    }
    if plan.metrics_port:
        table["metrics"] = {"port": plan.metrics_port}
    if plan.places:
        table["places"] = dict(plan.places)
    if plan.simulation is not None:
        table["simulation_directory"] = str(plan.simulation)
    return _write(plan.state / "agent.toml", table)


def _broker(state: Path, access: Access) -> dict[str, str]:
    if not access.username:
        return {"url": access.url}
    secret = state / "broker.password"
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.touch(mode=0o600)
    secret.chmod(0o600)
    secret.write_text(access.password)
    return {"url": access.url, "username": access.username, "password_file": str(secret)}


def _budget(text: str) -> dict[str, float | int]:
    return {"percent": float(text[:-1])} if text.endswith("%") else {"nodes": int(text)}


def _write(path: Path, table: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Written by `fleetmend up` at every start.\n" + tomli_w.dumps(table))
    return path
