"""The page of what a playbook file may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller import playbooks
from scripts.pages.json_schema import default_of, kind_of
from scripts.pages.markdown import code, page, table


def playbooks_page() -> str:
    """Return what a playbook file may say."""
    schema = playbooks.schema()
    keys = schema["properties"]
    intro = (
        "One YAML file a fault family, in `playbooks/` or in the folder that the controller's `playbooks` names. "
        "`fleetmend playbook lint` reports every problem of every file with its line; besides the shape below it "
        "checks that jumps go forward, that a repair follows a cordon, that no path returns a node unverified, and "
        "that something leads to each step."
    )
    verbs = [_verb(one) for one in keys["steps"]["items"]["oneOf"]]
    return page(
        "Playbook schema",
        intro,
        f"## The file\n\n{_keys(schema)}",
        f"## answers\n\n{_keys(keys['answers']['items'])}",
        f"## guards\n\n{_keys(keys['guards'])}",
        "## Steps\n\nEach step is one key, its verb, with the table of what it is given.",
        *verbs,
    )


def _verb(schema: Mapping[str, Any]) -> str:
    ((name, body),) = schema["properties"].items()
    return f"### {name}\n\n{body.get('description', '')}\n\n{_keys(body)}"


def _keys(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (code(name), kind_of(value, {}), default_of(value, required=name in required), value.get("description", ""))
        for name, value in schema["properties"].items()
    ]
    return table(("key", "value", "default", "meaning"), rows)
