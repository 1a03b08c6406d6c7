"""The page's words, shapes and times: colour alone never carries a meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from controller.api.moments import duration
from controller.api.phrases import spaced
from controller.api.shapes import BudgetUse

_SHAPES = {"ok": "●", "degraded": "▲", "failed": "■", "unknown": "?"}
_OUTCOME_SHAPES = {"pass": "●", "warn": "▲", "fail": "■", "error": "✕", "skip": "–"}

_TONES = {
    "ok": "ok",
    "done": "ok",
    "returned": "ok",
    "recovered": "ok",
    "online": "ok",
    "degraded": "degraded",
    "waiting": "degraded",
    "timed_out": "failed",
    "in_doubt": "degraded",
    "refused": "degraded",
    "failed": "failed",
    "handed_over": "failed",
    "aborted": "failed",
    "lost": "failed",
    "open": "degraded",
    "acknowledged": "ok",
    "running": "active",
    "current": "active",
    "pass": "ok",
    "warn": "degraded",
    "fail": "failed",
}

_STEP_SHAPES = {
    "done": "✓",
    "failed": "✕",
    "timed_out": "✕",
    "refused": "✕",
    "in_doubt": "!",
    "skipped": "–",
    "abandoned": "–",
    "current": "▶",
    "waiting": "‖",
    "next": "○",
    "planned": "○",
}

_STEP_WORDS = {
    "current": "under way",
    "timed_out": "ran out of time",
    "in_doubt": "in doubt",
    "abandoned": "ended early",
    "planned": "later",
}


def shape(verdict: str) -> str:
    """Return the shape that stands for a verdict, or for a benchmark's outcome."""
    return _SHAPES.get(verdict) or _OUTCOME_SHAPES.get(verdict, "?")


def tone(state: str) -> str:
    """Return the colour class of any state: ok, degraded, failed, active or unknown."""
    return _TONES.get(state, "unknown")


def step_shape(state: str) -> str:
    """Return the shape of a step's state."""
    return _STEP_SHAPES.get(state, "○")


def step_word(state: str) -> str:
    """Return a step's state as people read it."""
    return _STEP_WORDS.get(state, spaced(state))


def moment(at: str) -> datetime:
    """Return the moment that an ISO text of ours names."""
    return datetime.fromisoformat(at)


def clock(at: str) -> str:
    """Return the time of day, UTC."""
    return moment(at).astimezone(UTC).strftime("%H:%M:%S")


def day_and_clock(at: str) -> str:
    """Return date and time, UTC."""
    return moment(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(at: str, now: float) -> str:
    """Return how long ago a moment was."""
    return f"{duration(now - moment(at).timestamp())} ago"


def lasted(since: str, end: str) -> str:
    """Return how long it is from one moment to another, as people say it."""
    return duration((moment(end) - moment(since)).total_seconds())


def short_device(device: str) -> str:
    """Return a device's name, cut in the middle when it is as long as a GPU's UUID."""
    return device if len(device) <= 24 else f"{device[:12]}…{device[-6:]}"


def short_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return those texts that fit on a line beside their name."""
    return {name: text for name, text in texts.items() if len(text) <= 120 and "\n" not in text}


def figure(value: float) -> str:
    """Return a measured value with the digits that mean something."""
    return f"{value:.4g}"


def share(budget: BudgetUse) -> int:
    """Return held of what may be held, 0 to 100."""
    if not budget.limit:
        return 100 if budget.held else 0
    return min(100, round(100 * budget.held / budget.limit))


FILTERS: dict[str, Callable[..., Any]] = {
    "shape": shape,
    "tone": tone,
    "step_shape": step_shape,
    "step_word": step_word,
    "spaced": spaced,
    "clock": clock,
    "day_and_clock": day_and_clock,
    "ago": ago,
    "duration": duration,
    "lasted": lasted,
    "share": share,
    "figure": figure,
    "short_texts": short_texts,
    "short_device": short_device,
}
