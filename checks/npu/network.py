"""`npu.network`: the RoCE port that an NPU has of its own.

It is a category of its own: jobs that stay on one host need no such port, so a port that is down condemns no host.
Only a port that was up on this host before is judged: one without a cable never was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import UNREADABLE, about, judgeable, unreadable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import PeerRule, Policy
from checks.readings import AcceleratorDevice, AscendNetworkReading
from checks.readings.accelerator import Link, Optics

ID = "npu.network"
KIND = "RoCE"
UP = "UP"

HEALTHY = frozenset({"", "success", "init", "detect ip set"})
"""Words for a path that works, or that nobody set up to be tested. Source: DCMI API reference,
`dcmi_get_device_network_health`: 0 success, 6 initial, 8 detection address being set."""


def judge(readings: Sequence[AscendNetworkReading]) -> tuple[Finding, ...]:
    """Return every NPU whose port was up before and now is not, or does not reach its gateway."""
    reading = readings[-1]
    return tuple(finding for device in judgeable(reading) for finding in _judge_device(device, reading.known))


def _judge_device(device: AcceleratorDevice, known: dict[str, str]) -> Iterator[Finding]:
    if device.name not in known:
        return
    yield from unreadable(ID, device, "links")
    for link in device.links:
        if link.state != UP:
            because = f"its RoCE port is {link.state or 'in no state'}: check cable, module and far end"
            yield _finding(device, "down", Action.CHECK_CABLING, because, link)
        elif link.health.lower() not in HEALTHY:
            because = f"its RoCE port is up, but its gateway is not reached ({link.health}): check address and switch"
            yield _finding(device, "unreachable", Action.CONTACT_SUPPORT, because, link)
        if dim := _dim(link.optics):
            because = f"the optical module of its RoCE port is at its limit ({dim}): clean or change it"
            yield _finding(device, "optics", Action.CHECK_CABLING, because, link)


def _dim(optics: Optics | None) -> str:
    """Return which light is too weak by the module's own limits, empty when none is."""
    if optics is None:
        return ""
    lights = (
        ("rx", optics.rx_milliwatt, optics.rx_low_milliwatt),
        ("tx", optics.tx_milliwatt, optics.tx_low_milliwatt),
    )
    return ", ".join(
        f"{name} {light:g} mW under {low:g} mW"
        for name, light, low in lights
        if light is not None and low is not None and light < low
    )


def _finding(device: AcceleratorDevice, code: str, action: Action, because: str, link: Link) -> Finding:
    judgement = (Verdict.DEGRADED, action)
    return about(ID, device, code, judgement, because, state=link.state, health=link.health, category="network")


CHECK = LevelCheck(
    id=ID,
    summary="RoCE ports of Ascend NPUs, which only jobs over several hosts need.",
    reading=AscendNetworkReading,
    judge=judge,
    outcomes=(
        Outcome("down", Verdict.DEGRADED, Action.CHECK_CABLING),
        Outcome("optics", Verdict.DEGRADED, Action.CHECK_CABLING),
        Outcome("*", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome(UNREADABLE, Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        peers=PeerRule(Action.CONTACT_SUPPORT, "so it is the switch, or the addresses that they were given"),
        because="a port that trains again is down for some seconds, and one NPU's port says nothing of the switch",
    ),
    thresholds={
        "state": "UP by `hccn_tool -link -g`, on a port that was up on this host before",
        "health": "Success or Init by `hccn_tool -net_health -g`",
        "optics": "the limits that the module states of itself",
    },
)
