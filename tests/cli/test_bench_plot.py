"""The picture in a terminal: axes in sizes, a mark for every line, nothing wider than asked."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.bench_plot import plot
from controller.api.bench_charts import Measured, charts

ESCAPE = "\x1b]0;owned\x07"


def shown(numbers: list[Measured], *, width: int = 80, colours: bool = False) -> str:
    """Return the picture as it is printed."""
    (chart,) = charts(numbers)
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=colours, color_system="standard" if colours else None).print(
        plot(chart, width=width)
    )
    return out.getvalue()


def curve(most: float, *, way: str = "", device: str = "", **last: float) -> list[Measured]:
    """Return bandwidths from 64 KiB to 16 GiB that approach `most`."""
    sizes = [2**power for power in range(16, 35)]
    return [
        Measured(
            "node_all_reduce",
            "bus bandwidth",
            "GB/s",
            size,
            most * size / (size + 2e7),
            way=way,
            device=device,
            **(last if size >= 2**33 else {}),  # type: ignore[arg-type]  # numbers all
        )
        for size in sizes
    ]


def test_axes_are_sizes_and_bandwidth_and_every_line_has_a_mark() -> None:
    text = shown([*curve(462.0, way="nvls", fail=430.0, median=498.0, peers=12), *curve(362.0, way="ring")])
    lines = text.splitlines()
    assert lines[0] == "GB/s" and lines[2].startswith("500┤")
    assert lines[17].split() == ["256", "KiB", "4", "MiB", "64", "MiB", "1", "GiB", "16", "GiB"]
    assert lines[18:] == [
        "  • nvls: 461.5 GB/s at 16 GiB",
        "  ▪ ring: 361.6 GB/s at 16 GiB",
        "  ▵ nvls, median of 12 peers: 498 GB/s at 16 GiB",
        "  ▬ nvls, fails below 430 GB/s from 8 GiB on",
    ]
    assert all(text.count(mark) > 4 for mark in "•▪▵▬")
    top_half = "\n".join(lines[:8])
    assert top_half.count("▬") > 3 and "▬" not in "\n".join(lines[8:17])


@pytest.mark.parametrize("width", [40, 80, 300])
def test_it_is_no_wider_than_asked(width: int) -> None:
    assert max(map(len, shown(curve(462.0), width=width).splitlines())) <= min(width, 100)


def test_colours_are_beside_marks_and_a_pipe_gets_none() -> None:
    assert "\x1b[36m" in shown(curve(462.0), colours=True)
    assert "\x1b" not in shown(curve(462.0))


def test_what_a_node_says_cannot_steer_the_terminal() -> None:
    hostile = [*curve(50.0, device=ESCAPE), *curve(60.0, device="GPU-a")]
    text = shown(hostile)
    assert "\x1b" not in text and "slowest, �]0;owned�" in text
