"""Request Tracker as a place for tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from controller.sections.notices import Severity
from controller.sections.tickets.credentials import flaw_of
from controller.sections.tickets.ticket_system import Text, WithFields


class RequestTrackerSection(WithFields):
    """Request Tracker 5, its REST 2.0; `url` is where its pages begin, `fields` are custom fields by name."""

    kind: Literal["request_tracker"]
    token_file: Path | None = Field(default=None, description="file that holds an auth token and nothing else")
    user: str = Field(default="", description="in place of a token, with `password_file`")
    password_file: Path | None = Field(default=None, description="file that holds the password and nothing else")
    queue: Text = Field(description="where tickets are made")
    queues: dict[str, Text] = Field(default={}, description="team → its queue, in place of `queue`")
    priorities: dict[Severity, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        default={}, description="severity → RT's priority, a number"
    )
    mark_field: str = Field(
        default="",
        description="custom field of the queues, freeform and of one value, that holds the mark by which a ticket is "
        "found again; without one the mark stands at the end of the subject",
    )
    open_status: Text = Field(default="open", description="what a ticket is set to that is opened again")
    closed_status: Text = Field(default="resolved", description="what a ticket is set to that is done")
    closed: list[Text] = Field(
        default=["resolved", "rejected", "deleted"], description="statuses in which nobody works on a ticket any more"
    )

    @field_validator("mark_field")
    @classmethod
    def _is_one_word_of_a_query(cls, name: str) -> str:
        if any(character in name for character in "{}'\"\\"):
            raise ValueError("must be a custom field's name without braces, quotes and backslashes")
        return name

    @model_validator(mode="after")
    def _whole(self) -> RequestTrackerSection:
        if flaw := flaw_of(self.user, self.password_file, self.token_file):
            raise ValueError(flaw)
        if self.open_status in {*self.closed, self.closed_status}:
            raise ValueError("open_status must be none of closed and closed_status")
        return self
