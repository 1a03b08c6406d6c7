"""The controller killed between any two steps of an enrolment: one host has the token's use, and gets its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.access.token_files import Shelf
from controller.enrolment.deciding import Turned
from controller.enrolment.desk import Asking, EnrolmentDesk, Given
from controller.enrolment.refusals import Refusals
from controller.enrolment.tokens import KIND
from controller.enrolment_events import CertificateIssued, EnrolmentGranted
from controller.events import Event, Logged
from controller.pki.authority import Authority, Record
from controller.store.snapshot import restore
from tests.support.enrolling import Host, Office, office
from tests.support.open_cell import open_cell

STEPS = ("before the grant", "granted", "signed", "revoked", "issued")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    """A cell that enrols hosts, of which gpu-1 had a certificate in another life."""
    async with open_cell(tmp_path) as cell, office(cell, tmp_path) as opened:
        await opened.enrolled("gpu-1")
        yield opened


class Dying(Authority):
    """One whose process ends at a step."""

    def __init__(self, folder: Path, step: str) -> None:
        super().__init__(folder)
        self.step = step

    def sign(self, *args: Any, **named: Any) -> bytes:
        signed = super().sign(*args, **named)
        if self.step == "signed":
            raise Killed
        return signed

    def revoke(self, *args: Any, **named: Any) -> list[Record]:
        gone = super().revoke(*args, **named)
        if self.step == "revoked":
            raise Killed
        return gone


class DyingCell:
    """The counter of a cell whose process ends at a step."""

    def __init__(self, office: Office, step: str) -> None:
        self.front, self.step = office.cell.front, step
        self.belief = self.front.belief

    async def submit(self, event: Event) -> Logged:
        if self.step == "before the grant":
            raise Killed
        logged = await self.front.submit(event)
        if {"granted": EnrolmentGranted, "issued": CertificateIssued}.get(self.step) is type(event):
            raise Killed
        return logged


def desk(office: Office, step: str = "") -> EnrolmentDesk:
    """Return the desk of a process that was just started, and is killed at a step."""
    cell: Any = DyingCell(office, step)
    authority = Dying(office.authority.folder, step)
    given, refusals = Given("main", ("mqtts://a",), dict), Refusals(office.cell.front.submit)
    return EnrolmentDesk(cell, authority, Shelf(KIND, office.tokens), given, 30, refusals, office.cell.clock)


def asking(host: Host) -> Asking:
    return Asking(host.node, host.request().encode(), "192.0.2.7")


@pytest.mark.parametrize("step", STEPS)
async def test_wherever_it_is_killed_one_host_enrols_and_no_other(at: Office, step: str) -> None:
    token, mine, other = at.token(replace=True), Host.new("gpu-1"), Host.new("gpu-1")
    with pytest.raises(Killed):
        await desk(at, step).enrol(asking(mine), token)
    believed, _ = restore(at.cell.cell.log)
    assert believed.enrolments == at.cell.cell.belief.enrolments
    started_anew = desk(at)
    if step != "before the grant":
        with pytest.raises(Turned, match="used up"):
            await started_anew.enrol(asking(other), token)
    identity = await started_anew.enrol(asking(mine), token)
    with pytest.raises(Turned, match="used up"):
        await started_anew.enrol(asking(other), token)
    await started_anew.refusals.close()
    assert identity.node == "gpu-1"
    good = {each.serial for each in at.authority.issued_to("gpu-1")} - at.authority.revoked()
    told = [each for each in await at.told() if isinstance(each, CertificateIssued)]
    assert good == {told[-1].serial}, "the host from before, and what was never handed out, are shut out"
