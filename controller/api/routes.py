"""Every route of the API, in one table: the server is built from it, and so is the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from checks.bench_result import Benchmark
from controller.access.roles import Role
from controller.api import (
    acting,
    audit,
    bench_acting,
    bench_reading,
    bench_shapes,
    budgets,
    bundles,
    counter_shapes,
    history_shapes,
    map_shapes,
    node_counters,
    node_history,
    ops_shapes,
    playbooks,
    proposals,
    reading,
    reporting,
    shapes,
    sweep_shapes,
    sweeps,
)
from controller.api.call import Handler
from controller.api.operation import Operation, Shows
from controller.api.query import Query
from controller.policy.reporting.shapes import Report

ROOT = "/api/v1"


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        answer: type of the body of a 200.
        body: type of the request's body, `None` when it takes none.
        refusals: further statuses besides those that every route can give.
        role: what one has to be, `None` for a viewer who reads and an admin who acts.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any
    body: type | None = None
    query: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()
    role: Role | None = None

    @property
    def need(self) -> Role:
        """What one has to be."""
        return self.role or (Role.VIEWER if self.body is None else Role.ADMIN)

    @property
    def operation(self) -> Operation:
        """What the API's description says of it. The handler's name is unique among routes."""
        is_of_api = self.path.startswith(ROOT)
        return Operation(
            method=self.method,
            path=self.path,
            name=self.handler.__name__,
            summary=self.summary,
            about=f"Needs the role {self.need}." if is_of_api else "For everybody.",
            answer=self.answer,
            body=self.body,
            query=self.query,
            refusals=self.refusals,
            shows=Shows.TOKEN if is_of_api else Shows.NOTHING,
        )


_FILTERS = (
    Query("state", "Only open or only closed incidents.", reading.STATES),
    Query("node", "Only incidents of this node."),
)
_BENCHMARK = Query("benchmark", "Only results of this benchmark.", tuple(Benchmark))
_FINGERPRINT = (
    Query("metric", "Only baselines of this metric."),
    Query("sku", "Only those of this kind of GPU."),
    Query("driver", "Only those of this driver."),
)

ROUTES: tuple[Route, ...] = (
    Route("GET", f"{ROOT}/status", reading.status, "The cell at a glance.", shapes.CellStatus),
    Route(
        "GET",
        f"{ROOT}/nodes",
        reading.nodes,
        "Every node.",
        list[shapes.NodeRow],
        query=(Query("in", "Only nodes of this place, e.g. `leaf=leaf-3`, `rack=r12` or `job=4711`."),),
        refusals=(422,),
    ),
    Route("GET", f"{ROOT}/map", reading.whole_map, "Every node as the fleet map draws it.", map_shapes.FleetMap),
    Route(
        "GET",
        f"{ROOT}/search",
        reading.search,
        "Nodes, incidents, serial numbers and devices that have these words in them, the nearest first.",
        list[map_shapes.Found],
        query=(Query("q", "The words; nothing is found by none."),),
        refusals=(422,),
    ),
    Route("GET", f"{ROOT}/nodes/{{name}}", reading.node, "One node.", shapes.NodeDetail, refusals=(404,)),
    Route(
        "GET",
        f"{ROOT}/nodes/{{name}}/history",
        node_history.node_history,
        "What the log tells of a node over time: its parts, its checks and its numbers.",
        history_shapes.NodeHistory,
        refusals=(404,),
    ),
    Route(
        "GET",
        f"{ROOT}/nodes/{{name}}/counters",
        node_counters.node_counters,
        "A node's counters over the last day: by the minute for two hours, by the quarter of an hour before.",
        counter_shapes.CountersShown,
        refusals=(404,),
    ),
    Route(
        "GET",
        f"{ROOT}/incidents",
        reading.incidents,
        "Incidents, newest first.",
        list[shapes.IncidentRow],
        query=_FILTERS,
        refusals=(422,),
    ),
    Route("GET", f"{ROOT}/incidents/{{id}}", reading.incident, "One incident.", shapes.IncidentDetail, refusals=(404,)),
    Route(
        "POST",
        f"{ROOT}/nodes/{{name}}/cordon",
        acting.cordon,
        "Take a node out until a person gives it back.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 409, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/nodes/{{name}}/uncordon",
        acting.uncordon,
        "Give a node back at once and end every plan for it.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 409, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/pause",
        acting.pause,
        "Begin nothing disruptive on a node or anywhere.",
        shapes.Acted,
        shapes.Scope,
        refusals=(404, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/resume",
        acting.resume,
        "End a pause.",
        shapes.Acted,
        shapes.Scope,
        refusals=(404, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/incidents/{{id}}/approve",
        acting.approve,
        "Approve a plan or a step, or the return of a node that people have mended.",
        shapes.Acted,
        shapes.Approval,
        refusals=(404, 409, 422),
        role=Role.APPROVER,
    ),
    Route(
        "POST",
        f"{ROOT}/incidents/{{id}}/abort",
        acting.abort,
        "Stop a plan; a node that is out stays out.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 409, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/incidents/{{id}}/acknowledge",
        acting.acknowledge,
        "Say that you look after an incident: nobody else is paged for it.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 409, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "GET",
        f"{ROOT}/evidence",
        bundles.evidence,
        "Bundles of evidence, newest first; GET an `upload` below this address for the file itself.",
        list[shapes.BundleRow],
        query=(Query("incident", "Only those of this incident."), Query("node", "Only those of this node.")),
        refusals=(404,),
    ),
    Route(
        "GET",
        f"{ROOT}/report",
        reporting.report,
        "What the log says about a span of time: availability, faults, repairs, and what they cost.",
        Report,
        query=reporting.QUERY,
        refusals=(422,),
    ),
    Route("GET", f"{ROOT}/rollouts", reading.rollouts, "Changed playbooks that are tried.", list[shapes.RolloutShown]),
    Route(
        "POST",
        f"{ROOT}/rollouts/{{name}}/promote",
        acting.promote,
        "Trust a playbook's new text from now on.",
        shapes.Acted,
        shapes.Promotion,
        refusals=(404, 409, 422),
        role=Role.ADMIN,
    ),
    Route(
        "POST",
        f"{ROOT}/rollouts/{{name}}/withdraw",
        acting.withdraw,
        "Use a playbook's new text no more.",
        shapes.Acted,
        shapes.Promotion,
        refusals=(404, 409, 422),
        role=Role.ADMIN,
    ),
    Route("GET", f"{ROOT}/budgets", budgets.budgets, "What holds plans back, and who waits.", ops_shapes.BudgetsShown),
    Route(
        "GET",
        f"{ROOT}/playbooks",
        playbooks.playbooks,
        "Every playbook, in the order in which they answer.",
        list[ops_shapes.PlaybookRow],
    ),
    Route(
        "GET",
        f"{ROOT}/playbooks/{{name}}",
        playbooks.playbook,
        "One playbook.",
        ops_shapes.PlaybookDetail,
        refusals=(404,),
    ),
    Route(
        "GET",
        f"{ROOT}/audit",
        audit.audit,
        "What people did and what was decided, newest first.",
        ops_shapes.AuditPage,
        query=(
            Query("what", "Only acts of people, only decisions, or only hosts that enrol.", audit.WHAT),
            Query("by", "Only what this person did."),
            Query("verb", "Only this, e.g. `approve`."),
            Query("node", "Only what is about this node."),
            Query("incident", "Only what belongs to this incident."),
            Query("before", "Only entries before this one: `before` of the page before."),
        ),
        refusals=(422,),
    ),
    Route(
        "GET",
        f"{ROOT}/proposals",
        proposals.proposals,
        "What takes two people and waits for their yes.",
        list[shapes.ProposalRow],
    ),
    Route(
        "POST",
        f"{ROOT}/proposals/{{id}}/agree",
        proposals.agree,
        "Say yes to what somebody proposed.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 409, 422),
        role=Role.APPROVER,
    ),
    Route(
        "POST",
        f"{ROOT}/proposals/{{id}}/disagree",
        proposals.disagree,
        "Take back what somebody proposed.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/drills",
        acting.drill,
        "Inject a fault into a node that takes part in drills.",
        shapes.DrillStartedAnswer,
        shapes.Drill,
        refusals=(404, 409, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "GET",
        f"{ROOT}/bench/benchmarks",
        bench_reading.benchmarks,
        "What there is to measure with.",
        list[bench_shapes.BenchmarkShown],
    ),
    Route(
        "GET",
        f"{ROOT}/bench/runs",
        bench_reading.bench_runs,
        "Runs of benchmarks, under way or of late, newest first.",
        list[bench_shapes.RunRow],
        query=(Query("node", "Only runs on this node."),),
        refusals=(404,),
    ),
    Route(
        "GET",
        f"{ROOT}/bench/runs/{{id}}",
        bench_reading.bench_run,
        "One run, and how far it is.",
        bench_shapes.RunDetail,
        refusals=(404,),
    ),
    Route(
        "POST",
        f"{ROOT}/bench/runs",
        bench_acting.bench_start,
        "Have idle or cordoned nodes measured.",
        bench_shapes.RunAsked,
        bench_shapes.BenchWanted,
        refusals=(404, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/bench/runs/{{id}}/stop",
        bench_acting.bench_stop,
        "End a run.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "GET",
        f"{ROOT}/bench/leases",
        bench_reading.bench_leases,
        "What may run now, and until when.",
        list[bench_shapes.LeaseShown],
    ),
    Route(
        "GET",
        f"{ROOT}/bench/results",
        bench_reading.bench_results,
        "The newest result of every benchmark on every node, failures first.",
        list[bench_shapes.ResultRow],
        query=(_BENCHMARK,),
        refusals=(422,),
    ),
    Route(
        "GET",
        f"{ROOT}/bench/results/{{name}}",
        bench_reading.bench_results_of_node,
        "The newest results of a node, with all numbers.",
        list[bench_shapes.ResultDetail],
        query=(_BENCHMARK,),
        refusals=(404, 422),
    ),
    Route(
        "GET",
        f"{ROOT}/bench/baselines",
        bench_reading.bench_baselines,
        "What healthy peers reach.",
        list[bench_shapes.BaselineShown],
        query=_FINGERPRINT,
    ),
    Route(
        "POST",
        f"{ROOT}/bench/baselines/learn",
        bench_acting.baselines_learn,
        "Learn baselines anew from what healthy peers reached of late.",
        shapes.Acted,
        bench_shapes.BaselinesChosen,
        refusals=(404, 409, 422),
        role=Role.ADMIN,
    ),
    Route(
        "POST",
        f"{ROOT}/bench/baselines/forget",
        bench_acting.baselines_forget,
        "Drop baselines.",
        shapes.Acted,
        bench_shapes.BaselinesChosen,
        refusals=(404, 422),
        role=Role.ADMIN,
    ),
    Route("GET", f"{ROOT}/bench/sweeps", sweeps.sweeps, "Sweeps, newest first.", list[sweep_shapes.SweepRow]),
    Route(
        "GET",
        f"{ROOT}/bench/sweeps/{{sweep}}",
        sweeps.sweep,
        "One sweep.",
        sweep_shapes.SweepDetail,
        refusals=(404,),
    ),
    Route(
        "POST",
        f"{ROOT}/bench/sweeps",
        sweeps.sweep_begin,
        "Find out which node, link or switch is slow among these nodes.",
        sweep_shapes.SweepStarted,
        sweep_shapes.SweepWanted,
        refusals=(404, 409, 422),
        role=Role.OPERATOR,
    ),
    Route(
        "POST",
        f"{ROOT}/bench/sweeps/{{sweep}}/stop",
        sweeps.sweep_stop,
        "Stop a sweep; nothing is said of any node.",
        shapes.Acted,
        shapes.Because,
        refusals=(404, 422),
        role=Role.OPERATOR,
    ),
    Route("GET", f"{ROOT}/me", reading.me, "Who asks, and what they may do.", shapes.Me),
    Route("GET", "/healthz", reading.health_of_controller, "Whether the controller answers.", shapes.Health),
)
