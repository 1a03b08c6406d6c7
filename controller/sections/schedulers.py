"""Who places work on nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from controller.sections.section import Section


class SchedulerSection(Section):
    """Who places work on nodes."""

    kind: Literal["none", "node", "slurm", "kubernetes", "command"] = Field(
        default="none", description="node: the nodes hold themselves, by orders that their agents must allow"
    )
    hook: Path | None = Field(default=None, description="kind = command: the operator's own program")
    interval_s: Annotated[float, Field(gt=0)] = 5.0
    deadline_s: Annotated[float, Field(gt=0)] = 15.0

    @model_validator(mode="after")
    def _hook_given(self) -> SchedulerSection:
        if self.kind == "command" and self.hook is None:
            raise ValueError("kind = 'command' needs hook = '/path/to/program'")
        return self
