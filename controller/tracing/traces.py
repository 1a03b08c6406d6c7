"""What the parts of a controller need of its traces, and what they get where there are none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from controller.events import Logged, StepIntended
from controller.tracing.calls import Errand
from controller.tracing.moments import Arrival

T = TypeVar("T")
Effect = Callable[[], Awaitable[T]]


class Traces(Protocol):
    """Tells incidents as traces."""

    def arrived(self, entry: Logged, arrival: Arrival) -> None:
        """Note how the event of an entry came from its node; said before the entry itself is."""
        ...

    def act(self, entry: Logged) -> None:
        """Hear a committed entry; must not block."""
        ...

    def watch(self, intent: StepIntended, effect: Effect[T]) -> Effect[T]:
        """Return the effect, each try of which is seen."""
        ...

    def errand(self, errand: Errand, effect: Effect[T]) -> Effect[T]:
        """Return what is done on account of an incident, each try of which is seen."""
        ...

    def trace_id(self, incident_id: str) -> str:
        """Return the trace of an incident, empty when it has none."""
        ...

    def url(self, trace_id: str) -> str:
        """Return where people see a trace, empty when nobody said where."""
        ...

    def use(self) -> dict[str, object]:
        """Return how sending goes, in the form of `controller.api.shapes.TracesUse`."""
        ...

    def begin(self) -> None:
        """Begin to tell."""
        ...

    async def close(self) -> None:
        """Tell what is known so far, in a short while."""
        ...


class NoTraces:
    """Tells nobody."""

    def arrived(self, entry: Logged, arrival: Arrival) -> None:
        """Note nothing."""

    def act(self, entry: Logged) -> None:
        """Hear nothing."""

    def watch(self, _intent: StepIntended, effect: Effect[T]) -> Effect[T]:
        """Return the effect as it is."""
        return effect

    def errand(self, _errand: Errand, effect: Effect[T]) -> Effect[T]:
        """Return the effect as it is."""
        return effect

    def trace_id(self, _incident_id: str) -> str:
        """Return that there is none."""
        return ""

    def url(self, _trace_id: str) -> str:
        """Return nothing."""
        return ""

    def use(self) -> dict[str, object]:
        """Return that nothing is sent."""
        return {}

    def begin(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
