"""The gamma distribution, as far as rates of failures need it: its distribution function and its quantiles.

Written here because the standard library has none and a scientific one weighs more than the whole controller.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

_PRECISION = 1e-13
_MOST_TERMS = 10_000
_TINY = 1e-300


def below(shape: float, x: float) -> float:
    """Return the probability that a gamma variable of this shape and rate 1 is at most `x`.

    Source: NIST Digital Library of Mathematical Functions 8.7.1 (series) and 8.9.2 (continued fraction).

    Raises:
        ValueError: the shape is not positive, or a number is not finite.
    """
    if not (shape > 0.0 and math.isfinite(shape) and math.isfinite(x)):
        raise ValueError(f"no gamma distribution of shape {shape} at {x}")
    if x <= 0.0:
        return 0.0
    log_scale = shape * math.log(x) - x - math.lgamma(shape)
    if x < shape + 1.0:
        return min(1.0, math.exp(log_scale) * _series(shape, x))
    return max(0.0, 1.0 - math.exp(log_scale) * _fraction(shape, x))


def _series(shape: float, x: float) -> float:
    term = total = 1.0 / shape
    for count in range(1, _MOST_TERMS):
        term *= x / (shape + count)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _fraction(shape: float, x: float) -> float:
    """Return the continued fraction by the modified method of Lentz. Source: NIST DLMF 3.10(iii)."""
    partial = x + 1.0 - shape
    c, d = 1.0 / _TINY, 1.0 / partial
    value = d
    for count in range(1, _MOST_TERMS):
        factor = -count * (count - shape)
        partial += 2.0
        d = 1.0 / _not_zero(factor * d + partial)
        c = _not_zero(partial + factor / c)
        value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


_QUANTILES_KEPT: Final = 4_096
"""Shapes are a constant and a count of failures, so that few are asked for, again at each decision; each costs some
hundred thousand steps. Source: our choice."""


@lru_cache(_QUANTILES_KEPT)
def quantile(shape: float, probability: float) -> float:
    """Return the value that a gamma variable of this shape and rate 1 is below with this probability.

    Raises:
        ValueError: the probability is not between 0 and 1, or the shape is not positive.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"{probability} is no probability between 0 and 1")
    low, high = 0.0, shape + 1.0
    while below(shape, high) < probability:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in {low, high}:
            break
        low, high = (middle, high) if below(shape, middle) < probability else (low, middle)
    return high
