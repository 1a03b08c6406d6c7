"""How sure a figure is: intervals for rates of events and for shares of successes."""

from __future__ import annotations

import msgspec

from controller.policy import beta, gamma
from controller.policy.lemon import CREDIBLE

TAIL = (1.0 - CREDIBLE) / 2.0

PRIOR = 0.5
"""Both shapes of the prior of a share. Source: Jeffreys' prior; Brown, Cai and DasGupta, Interval Estimation for a
Binomial Proportion (2001), recommend its interval for small numbers."""


class Between(msgspec.Struct, frozen=True):
    """Both ends of an interval that holds nine tenths, `null` where there is no such end."""

    low: float | None
    high: float | None


def time_between(events: int, exposure: float) -> tuple[float | None, Between]:
    """Return the mean time between events with its exact interval, in the exposure's unit.

    Without exposure nothing is known. Without an event the mean is not known, and only its lower end is.

    Source: Garwood, Fiducial Limits for the Poisson Distribution (1936), by the gamma distribution's quantiles.
    """
    if exposure <= 0.0:
        return None, Between(None, None)
    low = exposure / gamma.quantile(events + 1.0, 1.0 - TAIL)
    if not events:
        return None, Between(low, None)
    return exposure / events, Between(low, exposure / gamma.quantile(float(events), TAIL))


def share_of(successes: int, failures: int) -> tuple[float | None, Between]:
    """Return the posterior mean of a share with its equal-tailed interval; nothing without a single try."""
    if not successes + failures:
        return None, Between(None, None)
    a, b = successes + PRIOR, failures + PRIOR
    return a / (a + b), Between(beta.quantile(a, b, TAIL), beta.quantile(a, b, 1.0 - TAIL))
