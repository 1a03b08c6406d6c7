"""What the settings say of enrolment, put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import structlog

from controller import keys
from controller.access.token_files import Shelf
from controller.api.cell_view import CellView
from controller.api.enrolling import Enrolling
from controller.enrolment.desk import EnrolmentDesk, Given
from controller.enrolment.refusals import Refusals
from controller.enrolment.tokens import KIND
from controller.pki.authority import Authority
from controller.pki.folder import AuthorityError
from controller.settings import ControllerSettings
from controller.store.signing import key_file

log = structlog.get_logger()


def enrolling_of(settings: ControllerSettings, cell: CellView) -> Enrolling | None:
    """Return who gives hosts certificates, `None` where none enrols.

    An authority that cannot be used is told of and no reason not to start: nodes are looked after without it.
    """
    section = settings.enrolment
    if section is None:
        return None
    authority = Authority(section.pki)
    try:
        authority.authorities()
    except (AuthorityError, OSError) as error:
        log.warning("enrolment.unusable", because=str(error))
    broker = section.broker_url or settings.broker.url
    told = (broker,) if isinstance(broker, str) else broker
    desk = EnrolmentDesk(
        cell,
        authority,
        Shelf(KIND, section.tokens_in(settings.state)),
        Given(settings.cell, told, partial(trusted_keys, key_file(settings))),
        section.agent_days,
        Refusals(cell.submit),
        time.time,
    )
    return Enrolling(desk, cell.check_leading)


def trusted_keys(file: Path) -> Mapping[str, str]:
    """Return what nodes are told of who signs their orders: the key that does, and the one that is to follow."""
    following = keys.following(file)
    told = [keys.load(file), *([following] if following is not None else [])]
    return {keys.key_id(key): keys.public_text(key) for key in told}
