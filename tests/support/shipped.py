"""The playbooks that come with fleetmend, read once for all tests of a process."""

from __future__ import annotations

from controller.playbooks import load_default

SHIPPED = load_default()
