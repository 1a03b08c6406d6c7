"""What checks over NVLinks have in common: the states of a link, and how NVML writes bit error rates."""

from __future__ import annotations

from checks.finding import Action
from checks.policy import PeerRule

INACTIVE, ACTIVE, SLEEP, TRAFFIC_DISABLED = range(4)
"""Source: nvml.h, NVML_NVLINK_STATE_*."""

UP = frozenset({ACTIVE, SLEEP})
"""States of a link that carries traffic, or would at once: Blackwell lets idle links sleep."""

NO_ERRORS_EXPONENT = 255
"""Of a rate for which no error was ever measured. Source: DCGM, which takes 15e-255 for healthy."""

SHARED_CAUSE = PeerRule(
    action=Action.REBOOT,
    because="the GPUs share only the switches and Fabric Manager: drain and reboot the host, which resets both",
)
"""The same fault on most GPUs of a host."""


def bit_error_rate(encoded: int) -> float:
    """Return errors per bit of what NVML writes as a mantissa in bits 8 to 11 and an exponent in bits 0 to 7.

    Source: nvml.h, NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER: mantissa times ten to the minus exponent.
    """
    mantissa, exponent = encoded >> 8 & 0xF, encoded & 0xFF
    return 0.0 if exponent == NO_ERRORS_EXPONENT else mantissa * 10.0**-exponent
