"""The picture on a node's page in a real browser: drawn without complaint, readable in both schemes, kept fresh."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from controller.bench_events import BenchAsked
from controller.events import OperatorActed
from tests.support import benching
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell

__all__ = ["browse", "chromium"]

NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True}

CONTRAST = """
(() => {
  const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (text) => channels(text)
    .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const panel = luminance(getComputedStyle(document.querySelector(".plot")).backgroundColor);
  const contrast = (text) => {
    const [low, high] = [panel, luminance(text)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const strokes = [...document.querySelectorAll(".plot polyline")].map((e) => contrast(getComputedStyle(e).stroke));
  const words = [...document.querySelectorAll(".plot .tick")].map((e) => contrast(getComputedStyle(e).fill));
  return [Math.min(...strokes), Math.min(...words)];
})()
"""
"""Least contrast of lines and of words. Source of the formula: WCAG 2.2."""


async def measure(cell: OpenCell) -> None:
    """Have n1 measured, and its peers known."""
    await cell.tell(benching.learnt(8 * benching.GIB), benching.learnt(16 * benching.GIB))
    await cell.ask_bench("n1")
    await cell.nodes.come_back("n1", benching.measured())


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_picture_can_be_read_in_both_schemes(cell: OpenCell, browse: Browsing, scheme: str) -> None:
    await measure(cell)
    page = await browse(f"{cell.url}/nodes/n1", color_scheme=scheme)
    lines, words = await page.evaluate(CONTRAST)
    assert lines >= 3.0 and words >= 4.5
    assert page.complaints == []


async def test_every_line_is_drawn_within_the_frame_and_said_in_words(cell: OpenCell, browse: Browsing) -> None:
    await measure(cell)
    page = await browse(f"{cell.url}/nodes/n1")
    drawn = await page.evaluate(
        "[...document.querySelectorAll('#plot-node_all_reduce polyline')].map((e) => {"
        " const [svg, line] = [e.ownerSVGElement.getBoundingClientRect(), e.getBoundingClientRect()];"
        " return line.width > 20 && line.left >= svg.left && line.right <= svg.right && line.top >= svg.top; })"
    )
    assert drawn == [True] * 5
    said = await page.evaluate("document.querySelector('#plot-node_all_reduce svg[role=img]').ariaLabel")
    assert said.startswith("GB/s by size of message, 1 MiB to 16 GiB. NCCL's choice: 460.9 GB/s at 16 GiB; ring:")
    await page.evaluate("document.querySelector('#numbers-node_all_reduce summary').click(); 1")
    rows = await page.evaluate("document.querySelectorAll('#numbers-node_all_reduce tbody tr').length")
    assert rows == len(benching.SIZES)
    await cell.tell(OperatorActed("pause", "n1", "alice", ""))
    await page.until("document.querySelector('#banner-node-paused')")
    assert await page.evaluate("document.querySelector('#numbers-node_all_reduce').open")
    assert page.complaints == []


async def test_no_line_of_the_timeline_is_wider_than_a_narrow_screen(cell: OpenCell, browse: Browsing) -> None:
    run_id = f"run-{'0123456789abcdef' * 6}"
    await cell.tell(BenchAsked(run_id, ["n1"], ["gemm"], 1, "operator", "kim", "to see"))
    page = await browse(f"{cell.url}/nodes/n1", **NARROW)
    assert run_id in await page.evaluate("document.querySelector('.timeline').textContent")
    assert await page.evaluate("document.documentElement.scrollWidth <= 360")


async def test_on_a_narrow_screen_the_words_of_the_picture_can_be_read_and_do_not_meet(
    cell: OpenCell, browse: Browsing
) -> None:
    await measure(cell)
    page = await browse(f"{cell.url}/nodes/n1", **NARROW)
    assert await page.evaluate("document.documentElement.scrollWidth <= 360")
    boxes = await page.evaluate(
        "[...document.querySelectorAll('#plot-node_all_reduce .tick')].map((e) => e.getBoundingClientRect())"
        ".map((box) => [box.left, box.right, box.top, box.bottom])"
    )
    assert all(bottom - top >= 8.0 for _, _, top, bottom in boxes)
    pairs = itertools.combinations(boxes, 2)
    assert not [pair for pair in pairs if _overlap(pair[0][:2], pair[1][:2]) and _overlap(pair[0][2:], pair[1][2:])]


def _overlap(one: list[float], other: list[float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


async def test_a_result_appears_and_what_runs_can_be_stopped(cell: OpenCell, browse: Browsing) -> None:
    run_id = await cell.ask_bench("n1")
    await cell.nodes.progress("n1", 0.42, "1 GiB")
    page = await browse(f"{cell.url}/nodes/n1")
    now = await page.evaluate("document.querySelector('#bench-now').textContent")
    assert "nccl_all_reduce is under way: 1 GiB 42 %" in " ".join(now.split())
    await page.evaluate("document.querySelector('button[data-act=stop]').click(); 1")
    await page.until("document.querySelector('#act').open")
    await page.evaluate("document.querySelector('#act-do').click(); 1")
    await page.until("!document.querySelector('#act').open")
    assert cell.cell.belief.bench.runs[run_id].outcome == "stopped"
    await page.until("!document.querySelector('#bench-now')")
    await cell.ask_bench("n1")
    await cell.nodes.come_back("n1", benching.measured())
    await page.until("document.querySelector('#plot-node_all_reduce')")
    assert page.complaints == []
