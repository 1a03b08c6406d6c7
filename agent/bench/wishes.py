"""What a wish's options say, each checked before anything is started."""

from __future__ import annotations

import re

from agent.bench.child import Broken
from wire.bench import BenchWish

_NUMBER = re.compile(r"\d{1,15}(\.\d{1,6})?", re.ASCII)


def number_option(wish: BenchWish, name: str, default: float, *, least: float, most: float) -> float:
    """Return an option that is a number.

    Raises:
        Broken: it is none, or out of bounds.
    """
    text = wish.options.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
        raise Broken(f"option {name}: a number from {least:g} to {most:g} is wanted, and not {text!r}")
    return float(text)


def choice_option(wish: BenchWish, name: str, choices: tuple[str, ...]) -> str:
    """Return an option that is one of several words, the first of them where it is not given.

    Raises:
        Broken: it is none of them.
    """
    text = wish.options.get(name, choices[0])
    if text not in choices:
        raise Broken(f"option {name}: one of {', '.join(choices)} is wanted, and not {text!r}")
    return text
