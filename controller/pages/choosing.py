"""Which adapter a way to page people has: one line a kind."""

from __future__ import annotations

from importlib import import_module

from controller.adapters import Notifier
from controller.pages import alertmanager, opsgenie, pagerduty
from controller.sections.pages.alertmanager import AlertmanagerSection
from controller.sections.pages.chat import ChatSection
from controller.sections.pages.opsgenie import OpsgenieSection
from controller.sections.pages.pagerduty import PagerDutySection

PagerSection = AlertmanagerSection | PagerDutySection | OpsgenieSection | ChatSection


def pager_of(section: PagerSection, *, place: str, cell: str) -> Notifier:
    """Return the adapter of a table of the settings.

    Args:
        place: where it stands in them, for messages, e.g. `pages.0`.

    Raises:
        SettingsError: a secret cannot be read, or an address is none.
    """
    match section:
        case AlertmanagerSection():
            return alertmanager.from_section(section, place=place, cell=cell)
        case PagerDutySection():
            return pagerduty.from_section(section, place=place, cell=cell)
        case OpsgenieSection():
            return opsgenie.from_section(section, place=place, cell=cell)
        case ChatSection():
            return _chat(section, place)


def _chat(section: ChatSection, place: str) -> Notifier:
    """Import what speaks to chats only now: it is large."""
    notifier: Notifier = import_module("controller.pages.chat").from_section(section, place=place)
    return notifier
