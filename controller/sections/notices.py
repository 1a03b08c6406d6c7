"""Where tickets and pages go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from controller.sections.section import Section


class NoticeSection(Section):
    """Where tickets or pages go: a file of JSON lines, or a webhook."""

    kind: Literal["json_lines", "webhook"] = "json_lines"
    path: Path | None = Field(default=None, description="json_lines: the file; default in the state directory")
    url: str = Field(default="", description="webhook: where to POST")
    deduplicates: bool = Field(default=False, description="webhook: the receiver drops a repeated Idempotency-Key")

    @model_validator(mode="after")
    def _url_given(self) -> NoticeSection:
        if self.kind == "webhook" and not self.url.startswith(("http://", "https://")):
            raise ValueError("kind = 'webhook' needs url = 'https://...'")
        return self
