"""Which numbers of a sequence were taken in, kept small because a sequence hardly has gaps."""

from __future__ import annotations

from bisect import bisect_right


class Taken:
    """Numbers from 1 on, as ranges without gaps.

    Attributes:
        heard_at: when the last of them came, Unix seconds, 0 while it is only being committed.
    """

    __slots__ = ("_bounds", "heard_at")

    def __init__(self, *, heard_at: float = 0.0) -> None:
        self._bounds: list[int] = []
        """First and last number of each range, in order: [1, 500, 502, 510]."""
        self.heard_at = heard_at

    @classmethod
    def parse(cls, text: str, *, heard_at: float) -> Taken:
        """Return what `1-500,502-510` says; the order of ranges does not matter.

        Raises:
            ValueError: it is no such text.
        """
        taken = cls(heard_at=heard_at)
        ranges = sorted(_range_of(part) for part in text.split(",") if part)
        taken._bounds = [bound for bounds in ranges for bound in bounds]
        if taken._bounds != sorted(taken._bounds):
            raise ValueError(f"ranges overlap: {text[:80]!r}")
        return taken

    def __str__(self) -> str:
        pairs = zip(self._bounds[::2], self._bounds[1::2], strict=True)
        return ",".join(f"{first}-{last}" for first, last in pairs)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._bounds, number)
        return index % 2 == 1 or (index > 0 and self._bounds[index - 1] == number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taken) and self._bounds == other._bounds

    __hash__ = None  # type: ignore[assignment]  # it changes

    def copy(self) -> Taken:
        """Return another with the same numbers."""
        other = Taken(heard_at=self.heard_at)
        other._bounds = list(self._bounds)
        return other

    def add(self, number: int) -> None:
        """Take a number in; one that is there changes nothing."""
        if number in self:
            return
        index = bisect_right(self._bounds, number)
        joins_before = index > 0 and self._bounds[index - 1] == number - 1
        joins_after = index < len(self._bounds) and self._bounds[index] == number + 1
        if joins_before and joins_after:
            del self._bounds[index - 1 : index + 1]
        elif joins_before:
            self._bounds[index - 1] = number
        elif joins_after:
            self._bounds[index] = number
        else:
            self._bounds[index:index] = [number, number]


def _range_of(part: str) -> tuple[int, int]:
    first, _, last = part.partition("-")
    bounds = int(first), int(last or first)
    if not 1 <= bounds[0] <= bounds[1]:
        raise ValueError(f"no range of numbers: {part[:40]!r}")
    return bounds
