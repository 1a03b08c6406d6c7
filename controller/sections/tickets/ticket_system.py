"""What every system for tickets has in its table: where it is, and what fleetmend's facts are called there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator

from controller.sections.notices import Destination
from controller.sections.web_address import WebAddress

Text = Annotated[str, Field(min_length=1, max_length=200)]

FACTS = (
    "incident",
    "node",
    "node_serial",
    "device",
    "pci",
    "model",
    "fault_class",
    "severity",
    "team",
    "follows",
    "serial",
    "slot",
    "port",
    "cable",
    "playbook",
    "rma",
)
"""What a ticket may have of its own field. What a notice has besides these stands in the ticket's text."""


class TicketSystem(Destination):
    """A system for tickets that is reached by HTTP."""

    url: WebAddress
    timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(default=20.0, description="for one request")


def known_facts(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return a map of facts to a system's fields as it is.

    Raises:
        ValueError: it has a fact that no notice has.
    """
    unknown = sorted(set(fields) - set(FACTS))
    if unknown:
        raise ValueError(f"no such fact: {', '.join(unknown)}; there are {', '.join(FACTS)}")
    return fields


class WithFields(TicketSystem):
    """A system in which fields can be given to tickets."""

    fields: dict[str, Text] = Field(
        default={}, description=f"what of {', '.join(FACTS)} goes into which field of the system, besides the text"
    )

    @field_validator("fields")
    @classmethod
    def _fields_of_facts(cls, fields: dict[str, str]) -> dict[str, str]:
        return dict(known_facts(fields))
