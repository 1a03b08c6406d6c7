"""`npu.temperature`: NPUs that are hot.

`npu-smi` states no limit, and the driver raises a fault code at its own. This warns before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import UNREADABLE, about, judgeable, unreadable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import PeerRule, Policy
from checks.readings import AcceleratorDevice, AscendReading

ID = "npu.temperature"
HOT_CELSIUS = 95.0
"""Source: our choice; NPUs of the captured hosts stand at 36 to 56 °C, and a limit is published for none."""


def judge(readings: Sequence[AscendReading]) -> tuple[Finding, ...]:
    """Return every NPU with a sensor that is hot."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device))


def _judge_device(device: AcceleratorDevice) -> Iterator[Finding]:
    yield from unreadable(ID, device, "temperatures")
    hottest = max(device.temperatures, key=lambda sensor: sensor.celsius, default=None)
    if hottest is not None and hottest.celsius >= HOT_CELSIUS:
        because = f"{hottest.sensor} is at {hottest.celsius:g} °C, the limit is {HOT_CELSIUS:g} °C: check the cooling"
        judgement = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
        yield about(ID, device, "hot", judgement, because, celsius=hottest.celsius)


CHECK = LevelCheck(
    id=ID,
    summary="Ascend NPUs that are hot.",
    reading=AscendReading,
    judge=judge,
    outcomes=(
        Outcome("hot", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome(UNREADABLE, Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        peers=PeerRule(Action.CONTACT_SUPPORT, "so it is the cooling of the host or of the room"),
        because="one reading may be a sensor's slip, and heat that most devices share is not theirs",
    ),
    thresholds={"hot": f"{HOT_CELSIUS:g} °C (our choice; the tool states no limit)"},
)
