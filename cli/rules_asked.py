"""The rules that a command is to decide by: those of settings, or of settings with other playbooks."""

from __future__ import annotations

from pathlib import Path

from cli.client import Failed
from cli.exit_codes import ExitCode
from controller.assembly import rules_of
from controller.playbooks import PlaybookErrors
from controller.policy.rules import Rules
from controller.settings import ControllerSettings, SettingsError

NO_STATE = Path("/nonexistent")
"""Rules of no controller in particular have no state directory, and none is looked at."""


def rules_by(settings: ControllerSettings, playbooks: Path | None) -> Rules:
    """Return the rules. `playbooks`: a folder in place of the settings' own.

    Raises:
        Failed: with everything that is wrong with playbooks or settings.
    """
    try:
        return rules_of(settings.model_copy(update={"playbooks": playbooks}) if playbooks is not None else settings)
    except (PlaybookErrors, SettingsError) as error:
        raise Failed(str(error), ExitCode.CONFIG) from error
