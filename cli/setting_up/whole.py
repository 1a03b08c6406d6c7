"""The whole of a setup, the same for each daemon: look, ask, write, start, and tell what is next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from cli.setting_up.asking import Asking
from cli.setting_up.closing import runs, tell_how_it_runs, try_settings
from cli.setting_up.course import Wishes, Work, run_units, write
from cli.setting_up.kept import broker_of, kept_document
from cli.setting_up.options import says_settings, wishes_of
from cli.setting_up.part import Part
from cli.setting_up.told import changed_line

Given = Mapping[str, Any]
"""What the options of a command say."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What one daemon's setup does in its own way.

    Attributes:
        own: options that say settings, besides those that every daemon has.
        usual_user: who comes to the broker where the settings that are there name nobody.
        around: returns the work around settings that are there and are kept.
        anew: asks for settings; returns the work, and the settings.
        tell_next: says what is left to do.
    """

    part: Part
    own: tuple[str, ...]
    usual_user: Callable[[Mapping[str, Any], Wishes], str]
    around: Callable[[dict[str, Any], Given, Wishes], Work]
    anew: Callable[[Given, Asking, Wishes], tuple[Work, dict[str, Any]]]
    tell_next: Callable[[Wishes], None]

    def run(self, given: Given) -> None:
        """Set the daemon up.

        Raises:
            Failed: it could not be done, with why; then nothing was changed, unless it says otherwise.
        """
        asking = Asking.at_terminal(is_quiet=given["yes"])
        wishes = wishes_of(given, asking)
        if asking.is_interactive:
            click.echo(wishes.host.sentence())
        kept = None if says_settings(given, *self.own) else kept_document(self.part.file, wishes.place)
        work, document = self.anew(given, asking, wishes) if kept is None else self._kept(kept, given, wishes)
        changes = write(work, wishes)
        if wishes.is_dry_run:
            click.echo(changed_line(len(changes), is_dry_run=True))
            return
        is_news = run_units(work, wishes, changes=changes)
        if wishes.starts:
            tell_how_it_runs(self.part, broker_of(document, self.part, wishes))
        click.echo(changed_line(len(changes), is_news=is_news))
        self.tell_next(wishes)

    def _kept(self, document: dict[str, Any], given: Given, wishes: Wishes) -> tuple[Work, dict[str, Any]]:
        """Set up around the settings that are there."""
        click.echo(f"{self.part.file} is there and is kept.")
        if asks_broker(self.part, given, wishes):
            try_settings(broker_of(document, self.part, wishes), usual=self.usual_user(document, wishes))
        return self.around(document, given, wishes), document


def asks_broker(part: Part, given: Given, wishes: Wishes) -> bool:
    """Return whether the broker is asked: not of an image, and not under the name of a daemon that runs."""
    is_idle = wishes.place.is_live and not wishes.is_dry_run
    return is_idle and not given["untried"] and not runs(part.service, wishes)
