"""Many pages are asked about some at a time, and a failure ends the asking."""

from __future__ import annotations

import asyncio

import pytest

from controller.adapters import Answer, Heard
from controller.errors import Retryable
from controller.pages.asking import AT_ONCE, answers_of


async def test_as_many_as_may_be_are_asked_at_once_and_each_gets_its_own_answer() -> None:
    under_way, most = 0, 0

    async def ask(reference: str) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return Answer(Heard.OPEN, by=reference)

    references = [f"page-{number}" for number in range(5 * AT_ONCE)]
    assert {key: answer.by for key, answer in (await answers_of(references, ask)).items()} == dict(
        zip(references, references, strict=True)
    )
    assert most == AT_ONCE


async def test_a_failure_is_raised_as_it_came_and_ends_the_asking() -> None:
    asked = []

    async def ask(reference: str) -> Answer:
        asked.append(reference)
        await asyncio.sleep(0)
        raise Retryable(f"{reference} was not answered")

    with pytest.raises(Retryable, match="was not answered"):
        await answers_of([f"page-{number}" for number in range(5 * AT_ONCE)], ask)
    assert len(asked) <= 2 * AT_ONCE
