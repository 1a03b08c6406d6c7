"""Messages as a fleetmend two minor versions ahead would say them: records with more fields than this version knows."""

from __future__ import annotations

import json
from typing import Any

from msgspec import inspect

from wire import messages

MORE = {"grown_in_0_3": {"unit": "furlongs", "values": [1, 2.5, None, True]}}
VERSION = "0.3.0"


def ahead(envelope: messages.Envelope, **body: Any) -> bytes:
    """Return the message with a field more in each of its records, and with what is changed in its body."""
    document = json.loads(messages.encode(envelope))
    document["body"] |= body
    return json.dumps(grown(document, inspect.type_info(messages.Envelope))).encode()


def grown(document: Any, shape: inspect.Type) -> Any:
    """Return a document of a shape with a field more in each of its records."""
    match shape:
        case inspect.StructType() | inspect.DataclassType() if isinstance(document, dict):
            fields = {each.encode_name: each.type for each in shape.fields}
            kept = {name: grown(each, fields[name]) if name in fields else each for name, each in document.items()}
            return kept | MORE
        case inspect.UnionType(types=types):
            tag = document.get("type") if isinstance(document, dict) else None
            fits = [each for each in types if isinstance(each, inspect.StructType) and each.tag in (None, tag)]
            return grown(document, fits[0]) if fits else document
        case inspect.DictType(value_type=values):
            return {name: grown(each, values) for name, each in document.items()}
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [grown(each, item) for each in document]
        case _:
            return document
