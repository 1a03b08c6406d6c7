"""The beta distribution, as far as shares of successes need it: its distribution function and its quantiles.

Written here for the reason that gamma.py gives: no scientific library is loaded for it.
"""

from __future__ import annotations

import math

_PRECISION = 1e-14
_MOST_TERMS = 10_000
_TINY = 1e-300


def below(a: float, b: float, x: float) -> float:
    """Return the probability that a beta variable of these two shapes is at most `x`.

    Source: NIST Digital Library of Mathematical Functions 8.17.22 (continued fraction) and 8.17.4 (symmetry).

    Raises:
        ValueError: a shape is not positive, or a number is not finite.
    """
    if not (a > 0.0 and b > 0.0 and math.isfinite(a) and math.isfinite(b) and math.isfinite(x)):
        raise ValueError(f"no beta distribution of shapes {a} and {b} at {x}")
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, math.exp(log_scale) * _fraction(a, b, x) / a)
    return max(0.0, 1.0 - math.exp(log_scale) * _fraction(b, a, 1.0 - x) / b)


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction by the modified method of Lentz. Source: NIST DLMF 3.10(iii)."""
    c, d = 1.0, 1.0 / _not_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for count in range(1, _MOST_TERMS):
        before = value
        for factor in _factors(a, b, x, count):
            d = 1.0 / _not_zero(1.0 + factor * d)
            c = _not_zero(1.0 + factor / c)
            value *= c * d
        if abs(value - before) <= abs(value) * _PRECISION:
            break
    return value


def _factors(a: float, b: float, x: float, count: int) -> tuple[float, float]:
    even = count * (b - count) * x / ((a + 2 * count - 1.0) * (a + 2 * count))
    odd = -(a + count) * (a + b + count) * x / ((a + 2 * count) * (a + 2 * count + 1.0))
    return even, odd


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def quantile(a: float, b: float, probability: float) -> float:
    """Return the value that a beta variable of these two shapes is below with this probability.

    Raises:
        ValueError: the probability is not between 0 and 1, or a shape is not positive.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"{probability} is no probability between 0 and 1")
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in {low, high}:
            break
        low, high = (middle, high) if below(a, b, middle) < probability else (low, middle)
    return (low + high) / 2.0
