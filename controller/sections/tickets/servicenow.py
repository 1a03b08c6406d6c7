"""ServiceNow as a place for tickets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from controller.sections.notices import Severity
from controller.sections.tickets.credentials import flaw_of
from controller.sections.tickets.ticket_system import Text, WithFields

SysId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Column = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
Choice = Annotated[str, Field(pattern=r"^-?[0-9]{1,4}$")]
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,79}")

OURS = frozenset({"short_description", "description", "correlation_id", "correlation_display", "work_notes", "state"})


class ServiceNowSection(WithFields):
    """ServiceNow, its Table API; `fields` are columns of the table."""

    kind: Literal["servicenow"]
    token_file: Path | None = Field(default=None, description="file that holds an OAuth token and nothing else")
    user: str = Field(default="", description="in place of a token, with `password_file`")
    password_file: Path | None = Field(default=None, description="file that holds the password and nothing else")
    table: Column = Field(default="incident", description="where tickets are made; one that extends `task`")
    assignment_group: SysId | Literal[""] = Field(default="", description="sys_id of the group that gets tickets")
    assignment_groups: dict[str, SysId] = Field(
        default={}, description="team → sys_id of its group, in place of `assignment_group`"
    )
    impacts: dict[Severity, Choice] = Field(default={}, description="severity → impact, e.g. 1")
    urgencies: dict[Severity, Choice] = Field(
        default={}, description="severity → urgency; ServiceNow makes the priority of both"
    )
    always: dict[Column, Text] = Field(
        default={}, description="column → value that every ticket gets, e.g. caller_id, category"
    )
    open_state: Choice = Field(default="2", description="state that a ticket is set to that is opened again")
    closed_state: Choice = Field(default="6", description="state that a ticket is set to that is done")
    closed: list[Choice] = Field(
        default=["6", "7", "8"], description="states in which nobody works on a ticket: resolved, closed, cancelled"
    )
    close_code: str = Field(
        default="Solution provided", description="as the instance has it; empty where the table has none"
    )

    @field_validator("fields")
    @classmethod
    def _columns(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, column in fields.items():
            if not _COLUMN.fullmatch(column):
                raise ValueError(f"{name}: {column!r} is no name of a column, like u_serial")
        return fields

    @model_validator(mode="after")
    def _whole(self) -> ServiceNowSection:
        if flaw := flaw_of(self.user, self.password_file, self.token_file):
            raise ValueError(flaw)
        if self.open_state in {*self.closed, self.closed_state}:
            raise ValueError("open_state must be none of closed and closed_state")
        if taken := sorted(OURS & {*self.always, *self.fields.values()}):
            raise ValueError(f"always and fields must leave alone what fleetmend fills itself: {', '.join(taken)}")
        return self
