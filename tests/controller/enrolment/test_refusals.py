"""Whoever guesses does not fill the event log."""

from __future__ import annotations

import asyncio

from controller.enrolment.refusals import MOST_BY_THEMSELVES, Refusals
from controller.enrolment_events import EnrolmentRefused
from tests.support.broker import until


def refused(number: int) -> EnrolmentRefused:
    return EnrolmentRefused("enrol", f"gpu-{number}", "192.0.2.7", "this is no token")


async def test_few_are_told_one_by_one_and_many_by_number() -> None:
    told: list[EnrolmentRefused] = []
    minute = asyncio.Event()

    async def submit(event: EnrolmentRefused) -> None:
        told.append(event)

    async def sleep(_: float) -> None:
        await minute.wait()

    refusals = Refusals(submit, sleep)
    for number in range(1_000):
        await refusals.note(refused(number))
    assert [each.claimed for each in told] == [f"gpu-{number}" for number in range(MOST_BY_THEMSELVES)]
    minute.set()
    await until(lambda: len(told) > MOST_BY_THEMSELVES)
    assert sum(each.attempts for each in told) == 1_000
    assert told[-1].because == "970 attempts within 60 s; the last: this is no token"
    minute.clear()
    await refusals.note(refused(1))
    assert (told[-1].claimed, told[-1].attempts) == ("gpu-1", 1)
    await refusals.close()
