"""Every metric of the controller. None has a node, a device or an incident as a label: those have no bound.

What is counted (`_total`, histograms) is counted from the start of the process that leads: Prometheus takes a restart
for what it is, as long as `rate` or `increase` is asked. What is believed is the same in every process.
"""

from __future__ import annotations

from typing import Final

from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark
from checks.finding import WORST_FIRST
from controller.policy.playbook import Verb
from controller.policy.rules import FAMILIES
from wire.metrics import OTHER, Kind, Label, Metric

MOST_POOLS: Final = 32
MOST_SKUS: Final = 16
MOST_CHECKS: Final = 200
MOST_CLASSES: Final = 100
MOST_SCOPES: Final = 200
MOST_DESTINATIONS: Final = 32
MOST_VERSIONS: Final = 16
"""Bounds of labels whose values others choose. Source: our choice; a cell has a handful of pools and kinds of GPUs, and
fleetmend itself has some 90 checks and 70 playbooks."""

STEP_OUTCOMES: Final = ("done", "failed", "refused", "timed_out", "in_doubt")
INCIDENT_OUTCOMES: Final = (
    "returned",
    "recovered",
    "handed_over",
    "cancelled",
    "aborted",
    "shadowed",
    "superseded",
    "canary_failed",
    OTHER,
)
INCIDENT_STATES: Final = ("running", "waiting", "handed_over", "aborted", OTHER)
SEVERITIES: Final = ("critical", "warning", "info", OTHER)
ORIGINS: Final = ("edge", "level", "controller", "scheduler", "bench", OTHER)
PRESENCES: Final = ("online", "stopped", "lost", "silent", "unknown")
WAITS: Final = ("budget", "breaker", "approval", "pause", "freeze window", "freeze", "node", "foreign hold", OTHER)
REASONS: Final = (
    "misaddressed",
    "misplaced",
    "malformed",
    "forged",
    "oversized",
    "version",
    "newer",
    "expired",
    "late",
    OTHER,
)
NOTICE_STATES: Final = ("open", "acknowledged", "closed", "gone", OTHER)
NOTICE_NEWS: Final = ("filed", "found", "joined", "escalated", "told", "closed")
NOTICE_FAILURES: Final = ("retry", "permanent", "refused", "in_doubt", OTHER)
ACTS: Final = (
    *("cordon", "uncordon", "pause", "resume", "approve", "abort", "promote", "withdraw", "acknowledge"),
    OTHER,
)
ALL_FAMILIES: Final = frozenset({*FAMILIES, "peer", "part", "k8s"})
"""First words of checks' ids, those that the controller judges by itself included."""

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Of what is meant to be over at once. Source: our choice, around the aims of 100 ms and 1 s for a cordon."""

MINUTES: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)
"""Of repairs. Source: our choice; a reboot takes minutes, a drain hours."""

DAYS: Final = (300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0, 259200.0, 604800.0)
"""Of whole incidents: some are over in minutes, others wait for a part."""

_HEALTH = Label("health", "`ok`, `degraded`, `failed` or `unknown`, the worst that stands", len(WORST_FIRST))
_POOL = Label("pool", "the node's pool, the first by name when it is in several, empty without one", MOST_POOLS)
_SKU = Label("sku", "model of its GPUs, empty when it has told none", MOST_SKUS)
_CHECK = Label("check", "id of the check", MOST_CHECKS)
_VERDICT = Label("verdict", "`failed`, `degraded` or `unknown`", len(WORST_FIRST) - 1)
_CLASS = Label("fault_class", "fault class", MOST_CLASSES)
_FAMILY = Label("family", "first word of the check's id", len(ALL_FAMILIES) + 1)
_VERB = Label("verb", "what the step does", len(Verb))
_KIND = Label("kind", "`fleet`, `pool`, `rack`, `leaf`, ...", 16)
_SCOPE = Label("scope", "name of the scope, `fleet` for the fleet", MOST_SCOPES)
_WAIT = Label("waiting_for", "what is waited for", len(WAITS))
_NOTICE = (
    Label("kind", "`ticket` or `page`", 2),
    Label("destination", "name of it in the settings", MOST_DESTINATIONS),
)
_BENCHMARK = Label("benchmark", "which one", len(Benchmark))
_BENCH_OUTCOME = Label("outcome", "`pass`, `warn`, `fail`, `error` or `skip`", len(Outcome))

METRICS: Final = (
    Metric(
        "fleetmend_build_info",
        Kind.GAUGE,
        "Always 1; the labels say which cell and which version.",
        (Label("cell_name", "name of the cell", 1), Label("version", "of fleetmend", 1)),
    ),
    Metric("fleetmend_leader", Kind.GAUGE, "1 on the controller that leads, 0 on one that stands by."),
    Metric("fleetmend_term", Kind.GAUGE, "Term of the leadership, the fencing token of every effect."),
    Metric(
        "fleetmend_lag_seconds",
        Kind.GAUGE,
        "How far the cell is behind its nodes: what waits for a decision, or comes old from the broker.",
        unit="seconds",
    ),
    Metric("fleetmend_broker_connected", Kind.GAUGE, "1 while the MQTT broker is connected."),
    Metric(
        "fleetmend_certificate_begin_time_seconds",
        Kind.GAUGE,
        "When the certificate that the broker is shown became good, Unix time. Not there without one.",
        unit="seconds",
    ),
    Metric(
        "fleetmend_certificate_end_time_seconds",
        Kind.GAUGE,
        "When the certificate that the broker is shown expires, Unix time. Not there without one.",
        unit="seconds",
    ),
    Metric(
        "fleetmend_scheduler_up",
        Kind.GAUGE,
        "1 when the last look at the scheduler succeeded.",
        (Label("scheduler", "adapter", 1),),
    ),
    Metric(
        "fleetmend_scheduler_seen_time_seconds",
        Kind.GAUGE,
        "When the scheduler was last asked with success, Unix time, 0 for never.",
        unit="seconds",
    ),
    Metric("fleetmend_scheduler_errors_total", Kind.COUNTER, "Looks at the scheduler that failed."),
    Metric(
        "fleetmend_topology_sources_failing", Kind.GAUGE, "Sources of where nodes stand that could not be read last."
    ),
    Metric("fleetmend_settings_refused", Kind.GAUGE, "1 while the files that were read anew last are refused."),
    Metric(
        "fleetmend_messages_rejected_total",
        Kind.COUNTER,
        "Messages of nodes that were dropped.",
        (Label("reason", "why", len(REASONS)),),
    ),
    Metric(
        "fleetmend_messages_unread_total",
        Kind.COUNTER,
        "Events of newer agents that are kept, for this version cannot read them.",
    ),
    Metric("fleetmend_log_events_total", Kind.COUNTER, "Entries that the event log ever had."),
    Metric(
        "fleetmend_store_bytes", Kind.GAUGE, "Size of the event log on disk, looked at once a minute.", unit="bytes"
    ),
    Metric("fleetmend_store_events", Kind.GAUGE, "Entries that are still in the log."),
    Metric(
        "fleetmend_store_snapshot_age_seconds",
        Kind.GAUGE,
        "Age of the newest snapshot; not there before the first.",
        unit="seconds",
    ),
    Metric("fleetmend_store_compaction_failed", Kind.GAUGE, "1 while the last compaction of the log failed."),
    Metric("fleetmend_nodes", Kind.GAUGE, "Nodes.", (_HEALTH, _POOL, _SKU)),
    Metric("fleetmend_gpus", Kind.GAUGE, "GPUs of those nodes.", (_HEALTH, _POOL, _SKU)),
    Metric(
        "fleetmend_nodes_by_presence",
        Kind.GAUGE,
        "Nodes by whether their agent is there.",
        (Label("presence", ", ".join(f"`{each}`" for each in PRESENCES), len(PRESENCES)),),
    ),
    Metric(
        "fleetmend_nodes_by_agent_version",
        Kind.GAUGE,
        "Nodes by the version that their agents say.",
        (Label("version", "of the agent, empty while it is not known", MOST_VERSIONS),),
    ),
    Metric(
        "fleetmend_nodes_out",
        Kind.GAUGE,
        "Nodes that take no new work, by whose doing.",
        (Label("by", "`fleetmend` or `others`", 2),),
    ),
    Metric("fleetmend_gpus_out", Kind.GAUGE, "GPUs of nodes that fleetmend holds out."),
    Metric("fleetmend_lemons", Kind.GAUGE, "Nodes that fail far more often than their peers."),
    Metric(
        "fleetmend_held_nodes",
        Kind.GAUGE,
        "Nodes of a scope with a budget of its own that fleetmend holds out or is about to; the fullest scopes first.",
        (_KIND, _SCOPE),
        at_once=MOST_SCOPES,
    ),
    Metric(
        "fleetmend_budget_nodes", Kind.GAUGE, "How many may be out there at once.", (_KIND, _SCOPE), at_once=MOST_SCOPES
    ),
    Metric("fleetmend_breakers_open", Kind.GAUGE, "Breakers that keep nodes in service, by kind of scope.", (_KIND,)),
    Metric("fleetmend_pauses", Kind.GAUGE, "Pauses that people set, by kind of scope.", (_KIND,)),
    Metric("fleetmend_frozen", Kind.GAUGE, "1 while so many agents are silent that nothing new is begun."),
    Metric("fleetmend_findings", Kind.GAUGE, "Findings that stand.", (_CHECK, _VERDICT)),
    Metric("fleetmend_findings_unanswered", Kind.GAUGE, "Findings about which nothing is decided yet."),
    Metric("fleetmend_findings_left", Kind.GAUGE, "Findings that no playbook answers."),
    Metric(
        "fleetmend_findings_raised_total",
        Kind.COUNTER,
        "Findings that began or changed.",
        (_FAMILY, _VERDICT, Label("origin", "who said so", len(ORIGINS))),
    ),
    Metric("fleetmend_findings_cleared_total", Kind.COUNTER, "Findings that are over.", (_FAMILY,)),
    Metric(
        "fleetmend_detection_seconds",
        Kind.HISTOGRAM,
        "From a node's observation to its being stored here: the node's clock, the broker, the commit. Edges alone.",
        unit="seconds",
        buckets=SECONDS,
    ),
    Metric(
        "fleetmend_isolation_seconds",
        Kind.HISTOGRAM,
        "From the first observation of an incident to the confirmed cordon, what it waited for included.",
        unit="seconds",
        buckets=(*SECONDS, 300.0, 3600.0),
    ),
    Metric(
        "fleetmend_open_incidents",
        Kind.GAUGE,
        "Open incidents.",
        (
            _CLASS,
            Label("state", ", ".join(f"`{each}`" for each in INCIDENT_STATES), len(INCIDENT_STATES)),
            Label("severity", "as its playbook says", len(SEVERITIES)),
        ),
    ),
    Metric("fleetmend_incidents_opened_total", Kind.COUNTER, "Incidents that were opened.", (_CLASS,)),
    Metric(
        "fleetmend_incidents_closed_total",
        Kind.COUNTER,
        "Incidents that were closed.",
        (Label("outcome", "how it ended", len(INCIDENT_OUTCOMES)),),
    ),
    Metric(
        "fleetmend_incident_duration_seconds",
        Kind.HISTOGRAM,
        "From opening to closing.",
        (Label("outcome", "how it ended", len(INCIDENT_OUTCOMES)),),
        unit="seconds",
        buckets=DAYS,
    ),
    Metric("fleetmend_incidents_waiting", Kind.GAUGE, "Open incidents that wait.", (_WAIT,)),
    Metric(
        "fleetmend_incidents_waiting_longest_seconds",
        Kind.GAUGE,
        "How long the one waits that has waited longest.",
        (_WAIT,),
        unit="seconds",
    ),
    Metric("fleetmend_steps_under_way", Kind.GAUGE, "Steps that go on now.", (_VERB,)),
    Metric(
        "fleetmend_steps_total",
        Kind.COUNTER,
        "Steps that ended.",
        (_VERB, Label("outcome", ", ".join(f"`{each}`" for each in STEP_OUTCOMES), len(STEP_OUTCOMES))),
    ),
    Metric(
        "fleetmend_step_duration_seconds",
        Kind.HISTOGRAM,
        "From the intent of a step to its end, whatever that was.",
        (_VERB,),
        unit="seconds",
        buckets=MINUTES,
    ),
    Metric(
        "fleetmend_notices_open",
        Kind.GAUGE,
        "Tickets and pages that have not ended, by how they stand there.",
        (*_NOTICE, Label("state", ", ".join(f"`{each}`" for each in NOTICE_STATES), len(NOTICE_STATES))),
    ),
    Metric(
        "fleetmend_notices_total",
        Kind.COUNTER,
        "What destinations were told with success; `joined` and `found` made nothing new there.",
        (*_NOTICE, Label("news", ", ".join(f"`{each}`" for each in NOTICE_NEWS), len(NOTICE_NEWS))),
    ),
    Metric(
        "fleetmend_notice_failures_total",
        Kind.COUNTER,
        "Attempts that a destination did not take; those of `retry` are made again.",
        (*_NOTICE, Label("outcome", ", ".join(f"`{each}`" for each in NOTICE_FAILURES), len(NOTICE_FAILURES))),
    ),
    Metric(
        "fleetmend_notice_destination_failing",
        Kind.GAUGE,
        "1 for a destination that did not take what it was sent last; no series for others.",
        _NOTICE,
    ),
    Metric(
        "fleetmend_operator_acts_total",
        Kind.COUNTER,
        "What people did.",
        (Label("verb", ", ".join(f"`{each}`" for each in ACTS), len(ACTS)),),
    ),
    Metric(
        "fleetmend_agent_starts_total",
        Kind.COUNTER,
        "Agents that came up.",
        (Label("rebooted", "`true` when the host was booted anew", 2),),
    ),
    Metric("fleetmend_bench_runs_open", Kind.GAUGE, "Runs of benchmarks that are not over."),
    Metric("fleetmend_bench_leases", Kind.GAUGE, "Benchmarks that may run now.", (_BENCHMARK,)),
    Metric(
        "fleetmend_bench_nodes",
        Kind.GAUGE,
        "Nodes by the newest result of a benchmark there.",
        (_BENCHMARK, _BENCH_OUTCOME),
    ),
    Metric("fleetmend_bench_results_total", Kind.COUNTER, "Results that were judged.", (_BENCHMARK, _BENCH_OUTCOME)),
    Metric("fleetmend_bench_baselines", Kind.GAUGE, "Baselines that are learnt."),
    Metric("fleetmend_bench_shifts", Kind.GAUGE, "Baselines from which the whole fleet has moved."),
)

BY_NAME: Final = {metric.name: metric for metric in METRICS}
