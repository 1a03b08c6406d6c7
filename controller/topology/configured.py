"""The sources of places that the settings name. Files are read at once: a mistake in them stops the start."""

from __future__ import annotations

from controller.sections.topology import NetBoxSection, TopologySection
from controller.topology import file, ib_fabric, slurm
from controller.topology.netbox import NetBox
from controller.topology.source import Source, Unreadable

Problems = list[str]


def sources_of(section: TopologySection) -> tuple[Source, ...]:
    """Return every source, the files among them read once.

    Raises:
        Unreadable: with every problem of every file.
    """
    makers = ((file.source, section.file), (slurm.source, section.slurm), (ib_fabric.source, section.ib_fabric))
    files = [make(path, section.interval_s) for make, path in makers if path is not None]
    problems: Problems = []
    for each in files:
        try:
            each.load()
        except Unreadable as error:
            problems.append(str(error))
    netbox = _netbox(section.netbox, problems)
    if problems:
        raise Unreadable("\n".join(problems))
    return (*files, *netbox)


def _netbox(section: NetBoxSection | None, problems: Problems) -> tuple[NetBox, ...]:
    if section is None:
        return ()
    try:
        token = section.token_file.read_text("utf-8").strip() if section.token_file else ""
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{section.token_file}: topology.netbox.token_file cannot be read: {error}")
        return ()
    return (NetBox(section.url, token, section.query, section.places, section.ca_file, section.interval_s),)
