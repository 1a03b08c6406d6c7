"""`watchdog`: whether systemd ends a daemon that hangs, and starts it anew."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, fine, missing
from cli.doctor.services import read
from cli.setting_up.systemd import Unit

OFF = ("", "0", "infinity")
UNFED = ("fleetmend-broker.service",)
"""Mosquitto feeds none. Of a unit that does not run systemd says 0, whatever is in its file."""


def judge(facts: list[Unit]) -> Iterator[Diagnosis]:
    """Say where it was switched off."""
    for unit in facts:
        if unit.active != "active" or unit.name in UNFED or not unit.name.endswith(".service"):
            continue
        if unit.watchdog in OFF:
            sentence = f"Nobody notices when {unit.name.removesuffix('.service')} hangs: its watchdog is switched off."
            yield missing(sentence, f"Take WatchdogSec= from what was added: systemctl cat {unit.name}")
        else:
            yield fine(f"{unit.name.removesuffix('.service')} is ended when it hangs for {unit.watchdog}.")


CHECK = Check("watchdog", "Daemons that are ended when they hang.", DAEMONS, read, judge, needs_live=True)
