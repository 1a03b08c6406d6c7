"""The shape of a playbook file as JSON Schema, for editors and for the reference page."""

from __future__ import annotations

from typing import Any

from controller.playbooks.kinds import schema_of
from controller.playbooks.paths import TELLS
from controller.playbooks.shape import ANSWER_KEYS, GUARD_KEYS, MAX_STEPS, PLAYBOOK_KEYS
from controller.playbooks.verbs import VERBS
from controller.policy.playbook import Verb

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the schema. Rules between keys (paths, names, overlaps) are the loader's and not in it."""
    whole = schema_of(PLAYBOOK_KEYS)
    whole["properties"] |= {
        "answers": _with_summary("answers", {"type": "array", "minItems": 1, "items": schema_of(ANSWER_KEYS)}),
        "guards": _with_summary("guards", schema_of(GUARD_KEYS)),
        "steps": _with_summary("steps", _steps(list(Verb), jumps=True)),
        "hand_over": _with_summary("hand_over", _steps([verb for verb in Verb if verb in TELLS], jumps=False)),
    }
    return {"$schema": DIALECT, "title": "fleetmend playbook", **whole}


def _with_summary(name: str, described: dict[str, Any]) -> dict[str, Any]:
    return {**described, "description": PLAYBOOK_KEYS[name].summary}


def _steps(verbs: list[Verb], *, jumps: bool) -> dict[str, Any]:
    items = {"oneOf": [_step(verb, jumps=jumps) for verb in verbs]}
    return {"type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": items}


def _step(verb: Verb, *, jumps: bool) -> dict[str, Any]:
    parameters = {**schema_of(VERBS[verb].keys(jumps=jumps)), "description": VERBS[verb].summary}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [verb.value],
        "properties": {verb.value: parameters},
    }
