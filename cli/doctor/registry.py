"""The explicit list of all that the doctor looks at: a new check is one new file and one line here."""

from __future__ import annotations

from typing import Any, Final

from cli.doctor import (
    broker_limits,
    broker_open,
    broker_reached,
    broker_rules,
    certificates,
    clock,
    device_rights,
    disk_room,
    drop_ins,
    gpu_driver,
    gpu_services,
    kernel_log,
    listeners,
    log_level,
    owners,
    plain_text,
    playbooks,
    scheduler,
    secret_files,
    services,
    settings,
    sight,
    signing_key,
    store,
    tools,
    trusted_keys,
    versions,
    watchdog,
)
from cli.doctor.diagnosis import Check

CHECKS: Final[tuple[Check[Any], ...]] = (
    settings.CHECK,
    secret_files.CHECK,
    owners.CHECK,
    signing_key.CHECK,
    trusted_keys.CHECK,
    services.CHECK,
    drop_ins.CHECK,
    watchdog.CHECK,
    broker_reached.CHECK,
    broker_open.CHECK,
    broker_rules.CHECK,
    broker_limits.CHECK,
    plain_text.CHECK,
    listeners.CHECK,
    certificates.CHECK,
    scheduler.CHECK,
    store.CHECK,
    playbooks.CHECK,
    versions.CHECK,
    log_level.CHECK,
    disk_room.CHECK,
    clock.CHECK,
    kernel_log.CHECK,
    gpu_driver.CHECK,
    gpu_services.CHECK,
    tools.CHECK,
    device_rights.CHECK,
    sight.CHECK,
)
"""In the order in which they are told."""
