"""What a parser of foreign bytes is to the fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Texts = Callable[[], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Attributes:
        name: as in the table that people read.
        parse: given any bytes, returns what they say.
        clear: the errors by which it says what is wrong; any other is a defect.
        texts: real inputs, of which the others are made.
    """

    name: str
    parse: Callable[[bytes], object]
    clear: tuple[type[Exception], ...]
    texts: Texts

    def take(self, data: bytes) -> None:
        """Have it parsed to the end: what comes piece by piece is asked for every piece."""
        found = self.parse(data)
        if isinstance(found, Iterator):
            for _ in found:
                pass
