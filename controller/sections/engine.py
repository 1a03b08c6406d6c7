"""How far incidents may go by themselves, and when silence counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.policy.modes import FLEET
from controller.policy.playbook import Mode
from controller.sections.section import Section


class SilenceSection(Section):
    """When an agent counts as lost, and when so many are that the cell freezes."""

    silent_after_s: Annotated[float, Field(gt=0)] = 180.0
    agent_lost_after_s: Annotated[float, Field(ge=0)] = 30.0
    freeze_nodes: Annotated[int, Field(ge=2)] = 3
    freeze_share: Annotated[float, Field(gt=0, le=1)] = 0.3


class ModesSection(BaseModel):
    """How far incidents may go by themselves: `shadow`, `ask` or `act`.

    Of what a playbook says, of `fleet` and of the modes of a node's pools the strictest holds; `playbook.NAME` stands
    in place of the first two. `"PLAYBOOK@POOL" = "act"`, a key of its own, has the last word for that playbook in that
    pool.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Mode] = Field(init=False)

    fleet: Mode | None = Field(default=None, description="of every playbook that is not named below, at the most")
    pool: dict[str, Mode] = Field(default={}, description='pool → mode, e.g. `pool.research = "ask"`')
    playbook: dict[str, Mode] = Field(default={}, description="playbook → mode, in place of what its file says")

    @model_validator(mode="after")
    def _both_named(self) -> ModesSection:
        wrong = [key for key in self.__pydantic_extra__ or {} if not all(key.partition("@"))]
        if wrong:
            raise ValueError(f'{wrong[0]!r} is none of fleet, pool.NAME, playbook.NAME and "PLAYBOOK@POOL"')
        return self

    def modes(self) -> dict[str, Mode]:
        """Return the modes as the policy reads them."""
        fleet = {FLEET: self.fleet} if self.fleet is not None else {}
        pools = {f"pool.{name}": mode for name, mode in self.pool.items()}
        books = {f"playbook.{name}": mode for name, mode in self.playbook.items()}
        return {**fleet, **pools, **books, **(self.__pydantic_extra__ or {})}

    def playbooks(self) -> list[str]:
        """Return every playbook that is named."""
        return [*self.playbook, *(key.partition("@")[0] for key in self.__pydantic_extra__ or {})]


class RolloutSection(Section):
    """How a changed playbook is tried before it answers every incident of its kind."""

    canaries: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=1, description="so many incidents must end well before; 0 trusts every text as it is loaded"
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="of further incidents that the new text answers while one goes on; 0 is one at a time"
    )


class ApprovalsSection(Section):
    """How long a person's yes holds, and how long a question keeps a node out."""

    valid_s: Annotated[float, Field(gt=0)] = Field(
        default=86_400.0, description="a yes is used for steps that begin within this; `approve --for` says another"
    )
    answer_within_s: Annotated[float, Field(gt=0)] = Field(
        default=86_400.0, description="then a node that is out and waits for a yes is handed to people"
    )
