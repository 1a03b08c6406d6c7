"""The machine of a source's test: a folder for its files, a store in memory, a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.manifest_file import Approved
from agent.sources.redfish_access import RedfishAccess
from agent.sources.source import NVML_CHILD, Surroundings, Timing
from checks.manifest import Manifest
from cli.inventory_file import render
from tests.support.memory_store import MemoryStore

INVENTORY = "inventory.toml"
"""What is approved for the machine, below its folder."""

SOON = Timing(interval_s=30.0, fast_interval_s=10.0, deadline_s=10.0)


def deadline(seconds: float) -> Timing:
    """Return the timing of a source whose readings are late after so long."""
    return Timing(interval_s=30.0, fast_interval_s=10.0, deadline_s=seconds)


def surroundings_at(
    root: Path,
    store: MemoryStore | None = None,
    *,
    tools: Path | None = None,
    nvml_command: tuple[str, ...] = NVML_CHILD,
    monotonic: Callable[[], float] = lambda: 5.0,
    redfish: RedfishAccess | None = None,
) -> Surroundings:
    """Return the surroundings below a folder. `tools`: where programs are, those of this host when not given."""
    kept = store or MemoryStore()
    path = None if tools is None else str(tools)
    return Surroundings(
        lambda _: kept,
        root=root,
        tools=path,
        nvml_command=nvml_command,
        monotonic=monotonic,
        approved=Approved(root / INVENTORY),
        redfish=redfish,
    )


def approve(root: Path, manifest: Manifest) -> None:
    """Approve a manifest for the machine below a folder."""
    (root / INVENTORY).write_text(render(manifest))


def write_files(root: Path, files: Mapping[str, Any]) -> None:
    """Write path → text or bytes below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text if isinstance(text, bytes) else str(text).encode())


def write_program(folder: Path, name: str, script: str) -> Path:
    """Put a shell script into a folder as a program; it stands for a vendor's tool that cannot run here."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program
