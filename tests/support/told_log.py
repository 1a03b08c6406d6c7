"""Writes a log by hand, one event after the other, at times that a person can add up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.policy.playbook import Playbook, Verb
from controller.policy.reporting.asked import Asked, Prices
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.shapes import Report
from tests.support.policy import GPU_LOST
from wire.messages import NodeFacts

BEGIN = 1_790_000_000.0
HOUR = 3600.0
FACTS = NodeFacts(
    driver_version="580.65.06",
    gpu_model="NVIDIA H100 80GB HBM3",
    gpu_count=8,
    devices={"mlx5_0": "rdma InfiniBand guid a088c20300a1b2c4 firmware 28.39.1002"},
    places={"rack": ["r1"]},
)
BECAUSE = events.Reason("so")


def lost_gpu(device: str = "GPU-0", *, serial: str = "S1") -> Finding:
    """Return the finding of Xid 79."""
    return Finding("gpu.xid", device, "79", Verdict.FAILED, Action.REBOOT, f"{device} is off the bus.", serial=serial)


@dataclass(slots=True)
class ToldLog:
    """A log that begins at `BEGIN`; times are given in seconds after that."""

    log: list[events.Logged] = field(default_factory=list)
    opened: int = 0

    def say(self, at: float, *said: events.Event) -> ToldLog:
        """Let events happen at a moment."""
        for event in said:
            self.log.append(events.Logged(len(self.log) + 1, BEGIN + at, event))
        return self

    def node(self, *names: str, at: float = 0.0, facts: NodeFacts = FACTS, presence: str = "online") -> ToldLog:
        """Make nodes known, and heard."""
        for name in names:
            self.say(at, events.NodeSeen(name, "b", facts), events.PresenceChanged(name, presence, "so"))
        return self

    def fault(
        self,
        node: str,
        at: float,
        *,
        observed: float = 0.0,
        finding: Finding | None = None,
        playbook: Playbook = GPU_LOST,
        fault_class: str = "",
        origin: str = "edge",
    ) -> str:
        """Have a fault found, `observed` seconds after it happened, and answered at once; return the incident's id."""
        found = finding or lost_gpu()
        self.opened += 1
        name = f"inc-{self.opened:06d}"
        part = found.serial or f"{node}/{found.device}"
        answers = fault_class or playbook.fault_class
        self.say(
            at,
            events.FindingRaised(node, "b", found, BEGIN + at - observed, origin),
            events.IncidentOpened(name, node, found.device, answers, playbook, [found], BECAUSE, "act", part),
        )
        return name

    def step(self, incident: str, node: str, verb: str, at: float, until: float, outcome: str = "done") -> ToldLog:
        """Have a step begin and end."""
        key = f"{incident}/{verb}/{at}"
        self.say(
            at,
            events.StepIntended(incident, "automatic", verb, Verb(verb), 1, key, node, "", {}, BEGIN + until, BECAUSE),
        )
        return self.say(until, events.StepEnded(incident, verb, 1, outcome, "so", key))

    def repaired(self, node: str, at: float, *, by: str = "reboot", finding: Finding | None = None) -> str:
        """Have a fault mended: cordon 10 s, drain 50 s, repair 600 s, verify 40 s, probation 200 s, uncordon 0 s."""
        name = self.fault(node, at, finding=finding)
        self.step(name, node, "cordon", at, at + 10)
        self.step(name, node, "drain", at + 10, at + 60)
        self.step(name, node, by, at + 60, at + 660)
        self.step(name, node, "verify", at + 660, at + 700)
        found = finding or lost_gpu()
        self.say(at + 700, events.FindingCleared(node, found.key, "so", BEGIN + at + 700))
        self.step(name, node, "probation", at + 700, at + 900)
        self.step(name, node, "uncordon", at + 900, at + 900)
        self.say(at + 900, events.IncidentClosed(name, "returned", BECAUSE))
        return name

    def report(
        self,
        until: float,
        *,
        since: float = 0.0,
        drills: bool = False,
        prices: Prices = Prices(),  # noqa: B008 - it is frozen
        lasting_s: float = 7 * 86_400.0,
    ) -> Report:
        """Return the report on a span."""
        fold = Fold(Asked(BEGIN + since, BEGIN + until, drills, prices, lasting_s))
        fold.take_all(self.log)
        return fold.report()


def hours_by_state(report: Report) -> dict[str, float]:
    """Return the node-hours of every state in which there are any."""
    return {row.state: row.node_hours for row in report.availability.states if row.node_hours}


def lost_hours(report: Report) -> dict[tuple[str, str, str], float]:
    """Return the GPU-hours lost, by kind, cause and what was done."""
    return {(row.kind, row.cause, row.doing): row.gpu_hours for row in report.losses.rows}


def with_class(playbook: Playbook, name: str) -> Playbook:
    """Return a playbook of another class."""
    return replace(playbook, name=name, fault_class=name)
