"""The traces that the settings ask for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path

from controller.cell import Cell
from controller.sections.traces import TracesSection, header_of
from controller.settings import ControllerSettings, SettingsError
from controller.tracing.calls import Peers
from controller.tracing.sending import Receiver, Sender
from controller.tracing.telling import Teller
from controller.tracing.traces import NoTraces, Traces


def traces_of(settings: ControllerSettings, cell: Cell, peers: Peers, clock: Callable[[], float]) -> Traces:
    """Return who tells traces, nobody where no receiver is set.

    Raises:
        SettingsError: the extra that they need is not installed, or a file is of no use.
    """
    section = settings.traces
    if not section.endpoint:
        return NoTraces()
    return Teller(
        cell,
        Sender(_receiver(section)),
        settings.cell,
        peers,
        clock,
        share=section.sample,
        ui_url=section.ui_url,
        on_kubernetes=settings.scheduler.kind == "kubernetes",
    )


def _receiver(section: TracesSection) -> Receiver:
    """Import what fills OTLP in only now: it is large, and comes with an extra."""
    try:
        otlp = import_module("controller.tracing.otlp")
    except ModuleNotFoundError as error:
        raise SettingsError(f"traces: endpoint needs the extra fleetmend[traces]: {error}") from error
    receiver = Receiver(
        section.url,
        partial(otlp.encode, instance=socket.gethostname()),
        otlp.rejected,
        partial(headers_in, section.headers_file),
        section.ca_file,
    )
    _try_files(receiver)
    return receiver


def headers_in(path: Path | None) -> Mapping[str, str]:
    """Return the headers that a file holds, one `Name: value` a line; none without a file.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
        ValueError: a line is no header, named by its number.
    """
    if path is None:
        return {}
    lines = enumerate(path.read_text("utf-8").splitlines(), start=1)
    return dict(header_of(line, number) for number, line in lines if line.strip() and not line.startswith("#"))


def _try_files(receiver: Receiver) -> None:
    """Find out now what else the first request would."""
    try:
        receiver.headers()
    except (OSError, ValueError) as error:
        raise SettingsError(f"traces.headers_file: {error}") from error
    try:
        receiver.tls()
    except OSError as error:
        raise SettingsError(f"traces.ca_file: {receiver.ca_file}: {error.strerror or error}") from error
