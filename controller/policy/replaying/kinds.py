"""Which entries of a log are decisions, and which are what the world said.

The log does not mark them: most kinds of events come from one side alone, a few from both.
"""

from __future__ import annotations

from typing import Final

from controller import bench_events, events, sweep_events

DECIDED: Final = frozenset(
    {
        bench_events.BenchJudged,
        bench_events.BenchRunEnded,
        bench_events.BenchWaiting,
        bench_events.FleetSettled,
        bench_events.FleetShifted,
        bench_events.GoldenAgreed,
        bench_events.LeaseEnded,
        bench_events.LeaseGranted,
        events.ActCarried,
        events.ActLapsed,
        events.FindingLeft,
        events.IncidentAborted,
        events.IncidentClosed,
        events.IncidentHandedOver,
        events.IncidentJoined,
        events.IncidentOpened,
        events.IncidentReclassified,
        events.IncidentReleasing,
        events.IncidentReturning,
        events.IncidentSuperseded,
        events.IncidentWaiting,
        events.StepIntended,
        events.StepSkipped,
        sweep_events.SweepBegan,
        sweep_events.SweepEnded,
        sweep_events.SweepGroupBegan,
        sweep_events.SweepGroupEnded,
        sweep_events.SweepNodeLeft,
        sweep_events.SweepRoundBegan,
        sweep_events.SweepRoundJudged,
    }
)
"""The policy alone puts these into the log."""

EITHER: Final = frozenset(
    {
        bench_events.BaselineLearnt,
        bench_events.BenchAsked,
        bench_events.BenchStopped,
        events.FindingCleared,
        events.FindingRaised,
        events.RolloutSettled,
        events.StepEnded,
        events.StepProgressed,
    }
)
"""These come from the policy as well as from nodes, people, adapters or a start with other playbooks."""
