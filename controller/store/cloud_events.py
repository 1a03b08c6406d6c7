"""The log's entries as CloudEvents 1.0, for whoever keeps or analyses them elsewhere.

Source: CloudEvents 1.0.2, JSON event format; names of attributes are lower-case letters and digits.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from controller.events import Logged, incident_of, kind_of, node_of

_encoder = msgspec.json.Encoder()


def cloud_event(entry: Logged, cell: str) -> bytes:
    """Return an entry as one line of JSON, without its end.

    `source` and `id` together name an entry for ever; `subject` is the incident, or else the node, it is about.
    """
    node, incident = node_of(entry.event), incident_of(entry.event)
    attributes = {
        "specversion": "1.0",
        "id": str(entry.event_id),
        "source": f"/fleetmend/{cell}",
        "type": f"fleetmend.{kind_of(entry.event)}",
        "time": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "subject": incident or node,
        "node": node,
        "incident": incident,
    }
    given = {name: value for name, value in attributes.items() if value}
    return _encoder.encode({**given, "data": entry.event})
