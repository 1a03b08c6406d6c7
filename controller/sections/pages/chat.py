"""Chats and e-mail as a way to page people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.sections.notices import Destination


class ChatSection(Destination):
    """Slack, Feishu, Lark, Teams, e-mail and whatever else the library Apprise reaches. Nobody acknowledges there."""

    kind: Literal["chat"]
    urls_file: Path = Field(
        description="file of Apprise's addresses, one a line, e.g. `slack://...`, `feishu://...`, `mailtos://...`; "
        "they hold secrets, so they are not in this file"
    )
    timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=20.0, description="for one message; one that was not through by then may have arrived"
    )
