"""How often a number is measured before it condemns anybody."""

from __future__ import annotations

MOST_TRIES = 3
TRIES_THAT_CONDEMN = 2
"""A number must fail twice out of three times. Source: the reference of active benchmarks, 2 of 3 with a cool-down."""
