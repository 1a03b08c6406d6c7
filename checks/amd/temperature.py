"""`amd.temperature`: AMD GPUs at the limits that they state of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import about, judgeable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import PeerRule, Policy
from checks.readings import AcceleratorDevice, AmdReading
from checks.readings.accelerator import Temperature

ID = "amd.temperature"
MARGIN_CELSIUS = 2.0
"""Below the limit at which the GPU turns itself off. Source: our choice; on MI210 the limits lie 5 °C apart."""


def judge(readings: Sequence[AmdReading]) -> tuple[Finding, ...]:
    """Return every sensor at a limit."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device))


def _judge_device(device: AcceleratorDevice) -> Iterator[Finding]:
    for sensor in device.temperatures:
        if sensor.shutdown_celsius and sensor.celsius >= sensor.shutdown_celsius - MARGIN_CELSIUS:
            because = f"{_said(sensor)}, it turns itself off at {sensor.shutdown_celsius:g} °C: take the host out"
            judgement = (Verdict.FAILED, Action.CONTACT_SUPPORT)
        elif sensor.slowdown_celsius and sensor.celsius >= sensor.slowdown_celsius:
            because = f"{_said(sensor)}, it slows down at {sensor.slowdown_celsius:g} °C: check the cooling"
            judgement = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
        else:
            continue
        yield about(ID, device, f"hot_{sensor.sensor}", judgement, because, celsius=sensor.celsius)


def _said(sensor: Temperature) -> str:
    return f"the sensor {sensor.sensor} shows {sensor.celsius:g} °C"


CHECK = LevelCheck(
    id=ID,
    summary="AMD GPUs at the temperatures at which they slow down or turn off.",
    reading=AmdReading,
    judge=judge,
    outcomes=(
        Outcome("hot_*", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("hot_*", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    policy=Policy(
        raise_after=2,
        peers=PeerRule(Action.CONTACT_SUPPORT, "so it is the cooling of the host or of the room"),
        because="one reading may be a sensor's slip, and heat that most GPUs share is not theirs",
    ),
    thresholds={
        "failed": f"{MARGIN_CELSIUS:g} °C below the GPU's own limit for turning off (our choice)",
        "degraded": "the GPU's own limit for slowing down",
    },
)
