"""What each order does, but for a reboot, whose end the agent does not live to see (agent/orders.py)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, assert_never

from agent.benches import Bencher, NoBenchmarks
from agent.bundles.keeper import Gatherer, NoBundles
from agent.clock import Clock
from agent.desk import Desk
from agent.evidence import contents, describe, report
from agent.holding import Holding
from agent.machine import ActionFailed, ActionRefused, Done, Machine
from agent.reaching import reach
from agent.sources.tool import Tool
from checks.finding import Verdict
from checks.gpu import count
from checks.readings import NvmlReading
from wire.messages import CheckLevel, Status
from wire.orders import Order, OrderAction

NEIGHBOURS_TOO: Final = "reset"
FORCED: Final = "when_stuck"
"""What an order says in `neighbours` and in `force`; anything else is no."""

NVML: Final = NvmlReading.SOURCE
GPU_COUNT: Final = count.ID
"""A check that NVML feeds: by it a fresh reading is asked for."""


class Checks(Protocol):
    """What orders need of the runner."""

    @property
    def kernel_lines(self) -> tuple[str, ...]:
        """The last lines of the kernel log, oldest first."""
        ...

    @property
    def last_readings(self) -> Mapping[str, Any]:
        """The newest reading of each source."""
        ...

    async def run_checks(self, ids: Iterable[str]) -> dict[str, CheckLevel]:
        """Judge these checks on fresh readings."""
        ...

    def status(self) -> Status:
        """Return the whole level."""
        ...


@dataclass(slots=True)
class Deeds:
    """Everything that this node may do to itself.

    Attributes:
        holding: `None` on a node that a scheduler holds.
    """

    machine: Machine
    checks: Checks
    desk: Desk
    clock: Clock = field(default_factory=Clock)
    holding: Holding | None = None
    bundles: Gatherer = field(default_factory=NoBundles)
    bench: Bencher = field(default_factory=NoBenchmarks)
    nvidia_smi: Tool = field(default_factory=lambda: Tool(shutil.which("nvidia-smi") or ""))

    async def do(self, order: Order, started_at: float) -> Done:
        """Carry an order out; return how it ended.

        Args:
            started_at: when it was begun, Unix time.

        Raises:
            ActionRefused: a precondition does not hold; nothing was done.
            ActionFailed: it was tried and did not work.
        """
        match order.action:
            case OrderAction.RUN_CHECKS:
                return await self._run_checks(order, started_at)
            case OrderAction.COLLECT:
                return await self._collect(order)
            case OrderAction.REACH:
                return await reach(order)
            case OrderAction.RESET_GPU:
                return await self._reset_gpu(order)
            case OrderAction.RELOAD_DRIVER:
                return await self._reload_driver()
            case OrderAction.BENCH:
                return await self.bench.run(order)
            case OrderAction.HOLD | OrderAction.RELEASE:
                return await self._hold_or_release(order)
            case OrderAction.RESTART_SERVICE | OrderAction.REBOOT | OrderAction.INJECT_FAULT:
                return await self._have_machine(order)
        assert_never(order.action)

    async def _have_machine(self, order: Order) -> Done:
        if order.action is OrderAction.RESTART_SERVICE:
            return await self.machine.restart_service(order.parameters.get("service") or order.device)
        if order.action is OrderAction.REBOOT:
            return await self.machine.reboot(force=order.parameters.get("force") == FORCED)
        fault = order.parameters.get("fault", "")
        return await self.machine.inject_fault(fault, device=order.device, parameters=order.parameters)

    async def _hold_or_release(self, order: Order) -> Done:
        if self.holding is None:
            raise ActionRefused("this node does not hold itself")
        obey = self.holding.hold if order.action is OrderAction.HOLD else self.holding.release
        return await obey(order)

    async def _run_checks(self, order: Order, started_at: float) -> Done:
        """Return the verdict of each check on fresh readings as evidence, under the check's id."""
        asked = [name.strip() for name in order.parameters.get("checks", "").split(",") if name.strip()]
        strange = sorted(set(asked) - set(self.desk.check_ids))
        if strange:
            raise ActionRefused(f"this node has no check {', '.join(strange)}")
        levels = await self.checks.run_checks(asked or self.desk.check_ids)
        proven = {check: _proven(level, started_at) for check, level in levels.items()}
        verdicts = {check: level.verdict for check, level in proven.items()}
        bad = [
            f"{check} {level.verdict}: {level.because}"
            for check, level in proven.items()
            if level.verdict != Verdict.OK
        ]
        return Done(f"{len(verdicts)} checks on fresh readings: {'; '.join(bad) or 'all ok'}", verdicts)

    async def _collect(self, order: Order) -> Done:
        """Return the small summary; the large bundle is gathered before this ends, and sent after."""
        evidence = describe(self.checks.status(), self.checks.last_readings, self.checks.kernel_lines)
        if not self.machine.simulated:
            said = await report(self.nvidia_smi, "-q")
            evidence |= {"nvidia-smi.txt": said} if said else {}
        bundle = await self.bundles.gather(order, evidence)
        because = f"collected {contents(evidence)}"
        return Done(f"{because}; {bundle}" if bundle else because, evidence)

    async def _reset_gpu(self, order: Order) -> Done:
        neighbours = order.parameters.get("neighbours") == NEIGHBOURS_TOO
        done = await self.machine.reset_gpu(order.device, neighbours=neighbours)
        gpus = done.gpus or (order.device,)
        for gpu in gpus:
            self.desk.device_was_reset(gpu)
        await self._see_answer(gpus)
        return done

    async def _reload_driver(self) -> Done:
        known = self.checks.last_readings.get(NVML)
        before = tuple(gpu.uuid for gpu in known.gpus if gpu.uuid) if known is not None else ()
        done = await self.machine.reload_driver()
        for gpu in before:
            self.desk.device_was_reset(gpu)
        await self._see_answer(before)
        return done

    async def _see_answer(self, gpus: Sequence[str]) -> None:
        """Return when NVML tells of these GPUs on a reading that began just now.

        Raises:
            ActionFailed: it does not: whatever was said of the repair, it did not bring them back.
        """
        began = self.clock.monotonic()
        await self.checks.run_checks((GPU_COUNT,))
        reading = self.checks.last_readings.get(NVML)
        if reading is None or reading.at_s < began:
            raise ActionFailed("it went through, but NVML could not be asked afterwards")
        if reading.failure:
            raise ActionFailed(f"it went through, but NVML does not answer: {reading.failure} {reading.detail}".strip())
        found = {gpu.uuid: gpu for gpu in reading.gpus if gpu.uuid and not gpu.lost}
        if silent := [gpu for gpu in gpus if gpu not in found]:
            raise ActionFailed(f"it went through, but {', '.join(silent)} does not answer NVML")
        if ill := [gpu for gpu in gpus if found[gpu].reset_required]:
            raise ActionFailed(f"it went through, but NVML says of {', '.join(ill)} that it needs a reset")


def _proven(level: CheckLevel, started_at: float) -> CheckLevel:
    """Return the level; `ok` only if it was judged since the order began."""
    if level.verdict == Verdict.OK and level.judged_at < started_at:
        return CheckLevel(Verdict.UNKNOWN, level.judged_at, "no reading since the order began")
    return level
