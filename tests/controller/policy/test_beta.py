"""The beta distribution, held against values that can be had otherwise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.policy import beta

shapes = st.floats(0.5, 500.0)
shares = st.floats(0.001, 0.999)


@pytest.mark.parametrize(
    ("a", "b", "x", "expected"),
    [
        (1.0, 1.0, 0.3, 0.3),  # uniform
        (2.0, 1.0, 0.5, 0.25),  # x²
        (1.0, 3.0, 0.5, 1 - 0.5**3),  # 1 - (1-x)³
        (0.5, 0.5, 0.25, 2 / math.pi * math.asin(math.sqrt(0.25))),  # arcsine
        (2.0, 3.0, 0.4, 0.5248),  # 6x² - 8x³ + 3x⁴ = 0.96 - 0.512 + 0.0768
    ],
)
def test_known_values(a: float, b: float, x: float, expected: float) -> None:
    assert beta.below(a, b, x) == pytest.approx(expected, rel=1e-12)


@given(a=st.integers(1, 60), b=st.integers(1, 60), x=shares)
def test_whole_shapes_are_binomial_tails(a: int, b: int, x: float) -> None:
    """P(Beta(a, b) ≤ x) = P(Binomial(a+b-1, x) ≥ a)."""
    n = a + b - 1
    tail = math.fsum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert beta.below(a, b, x) == pytest.approx(tail, abs=1e-10)


@given(a=shapes, b=shapes, probability=shares)
def test_a_quantile_has_its_probability_below_it(a: float, b: float, probability: float) -> None:
    assert beta.below(a, b, beta.quantile(a, b, probability)) == pytest.approx(probability, abs=1e-6)


@given(a=shapes, b=shapes, x=shares)
def test_it_is_symmetric(a: float, b: float, x: float) -> None:
    assert beta.below(a, b, x) == pytest.approx(1.0 - beta.below(b, a, 1.0 - x), abs=1e-9)


def test_beyond_its_ends() -> None:
    assert (beta.below(2.0, 3.0, -0.1), beta.below(2.0, 3.0, 1.5)) == (0.0, 1.0)


@pytest.mark.parametrize(
    "shapes_and_x", [(0.0, 1.0, 0.5), (1.0, -1.0, 0.5), (math.inf, 1.0, 0.5), (1.0, 1.0, math.nan)]
)
def test_what_is_no_distribution_is_refused(shapes_and_x: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="no beta distribution"):
        beta.below(*shapes_and_x)


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0, 2.0])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="no probability"):
        beta.quantile(1.0, 1.0, probability)
