"""Write docs/reference from the code, or with --check say which pages no longer say what the code does.

A page is a pure function of what can be imported: the registry of checks, the settings' models, topics and messages,
the command line, the playbooks' schema, the literal names of log events. Nothing here looks at the machine.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_origin, get_type_hints

import click
import msgspec
from pydantic import BaseModel

import agent.machine
import agent.settings
import checks.errors
import checks.finding
import controller.errors
import controller.leadership
import controller.main
import controller.settings
import controller.store.log
import wire.messages
import wire.orders
import wire.topics
import wire.transport
from agent.watched import Watched
from checks.check import Check, LatchedCheck
from checks.measures import MEASURES
from checks.policy import Policy
from checks.registry import CHECKS
from cli.catalogue import Row, catalogue
from cli.exit_codes import MEANINGS
from cli.main import fleetmend
from controller import playbooks
from controller.policy import peers
from scripts.coverage_page import coverage_page
from scripts.history_rules_page import history_rules_page
from scripts.incident_states_page import incident_states_page
from scripts.markdown import anchor, code, page, table
from scripts.scheduler_hook_page import scheduler_hook_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
HELP_WIDTH = 100
LOG_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
LOGGING_FOLDERS = ("agent", "cli", "controller", "wire")


def doc(thing: object) -> str:
    """Return a docstring without its sections (`Attributes:`, `Raises:`)."""
    return re.split(r"\n\s*(?:Attributes|Args|Raises|Source):", inspect.getdoc(thing) or "")[0].strip()


def attributes_of(thing: object) -> dict[str, str]:
    """Return what the section `Attributes:` of a docstring says of each name."""
    _, _, section = (inspect.getdoc(thing) or "").partition("Attributes:\n")
    entries = re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",")}


def member_docs(owner: type) -> dict[str, str]:
    """Return the string that follows each assignment in a class: how members of an enum or struct are documented."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            continue
        if isinstance(before, ast.Assign | ast.AnnAssign):
            target = before.targets[0] if isinstance(before, ast.Assign) else before.target
            found[ast.unparse(target)] = " ".join(str(after.value.value).split())
    return found


# --- checks ----------------------------------------------------------------------------------------------------------


def checks_page() -> str:
    """Return the page of all checks, in the registry's order."""
    intro = (
        "A check judges readings and says what it found: a verdict (`ok`, `degraded`, `failed`, `unknown`), the action "
        "that mends it, and one sentence why. Its id is its file: `gpu.xid` is `checks/gpu/xid.py`."
    )
    told = {
        row.id: row
        for row in catalogue(playbooks.load_default(), Watched(CHECKS, ()), agent.settings.Watch(node="n1").timings())
    }
    rows = [(f"[`{check.id}`](#{anchor(check.id)})", check.summary) for check in CHECKS]
    parts = (_check(check, told[check.id]) for check in CHECKS)
    return page("Checks", intro, table(("check", "what it looks for"), rows), *parts)


def _check(check: Check, row: Row) -> str:
    facts = "\n".join(f"- {fact}" for fact in (*_facts(check), *_row_facts(row)))
    thresholds = table(("threshold", "value and source"), [(code(n), v) for n, v in check.thresholds.items()])
    return "\n\n".join([f"## {check.id}", check.summary, facts, *([thresholds] if check.thresholds else [])])


def _facts(check: Check) -> Iterator[str]:
    if isinstance(check, LatchedCheck):
        yield "Judges kernel-log records as they come; what it raised stays until a later reading shows that it mended."
        if check.lookback > 1:
            yield f"Looks at the last {check.lookback} records together."
        return
    yield f"Judges `{check.reading.__name__}`, which the source `{check.source}` takes."
    yield f"Over the readings of the last {check.window_s:g} s." if check.window_s else "The newest reading alone."
    yield from _policy(check.policy)


def _row_facts(row: Row) -> Iterator[str]:
    beat = f"every {row.interval_s:g} s while all is calm" if row.interval_s else "as it comes"
    yield f"Source `{row.source}`, {beat}; cost {row.cost}, privilege {row.privilege}."
    yield f"Verdicts: {', '.join(map(code, row.verdicts))}. Actions: {', '.join(map(code, row.action)) or 'none'}."
    yield f"Playbooks: {', '.join(map(code, row.playbook)) or 'none'}."


def _policy(policy: Policy) -> Iterator[str]:
    within = f" of the last {policy.raise_within}" if policy.raise_within > policy.raise_after else " in a row"
    shown = f"{_readings(policy.raise_after)}{within if policy.window > 1 else ''}"
    why = f": {policy.because}" if policy.because else ""
    yield f"Raised after {shown}, cleared after {_readings(policy.clear_after)} without the fault{why}."
    if policy.boot_grace_s:
        yield f"`unknown` until the host has been up for {policy.boot_grace_s:g} s."
    if policy.peers is not None:
        share, minimum = policy.peers.share, policy.peers.minimum
        yield f"On more than {share:.0%} of the devices, at least {minimum}, it is one fault of the host."


def _readings(number: int) -> str:
    return "1 reading" if number == 1 else f"{number} readings"


def measures_page() -> str:
    """Return what is compared between nodes."""
    intro = (
        "Numbers that mean something only beside those of other nodes: one a node, the worst of its devices. A node "
        f"that stands out by more than {peers.DEVIATIONS:g} robust deviations for {peers.CONTINUITY_S:g} s among "
        f"{peers.LEAST_PEERS} peers or more is found as `{peers.CHECK}`, which is a warning and causes no action. See "
        "[how history decides](../explanation/history.md#peers)."
    )
    rows = [
        (
            code(measure.name),
            measure.summary,
            "higher" if measure.higher_is_worse else "lower",
            "nodes of the same job" if measure.within_job else "nodes of the same model",
            f"{measure.least_spread:g} {measure.unit}: {measure.because}",
        )
        for measure in MEASURES
    ]
    return page("Measures", intro, table(("measure", "what it is", "worse is", "beside", "least deviation"), rows))


# --- settings --------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return the page of both configuration files."""
    intro = (
        "TOML, one file a program. A key that is not listed is refused; all problems are reported at once, and the "
        "program ends with exit code 78. `--check` validates a file without starting anything."
    )
    return page(
        "Settings",
        intro,
        "## Controller\n\n`fleetmend-controller --config FILE`",
        *_sections(controller.settings.ControllerSettings, ""),
        "## Agent\n\n`fleetmend-agent --config FILE`",
        *_sections(agent.settings.Settings, ""),
    )


Model = type[BaseModel] | type[msgspec.Struct]


def _sections(model: Model, path: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> Iterator[str]:
    """Yield a section for the model and for each one inside it; `defaults` are what the outer one gives its keys."""
    schema, types = _schema(model), get_type_hints(model)
    definitions = schema.get("$defs", {})
    said = dict.fromkeys(schema["properties"], "") | _descriptions(model)
    for owner in reversed(model.__mro__[:-1]):
        said |= {name: text for name, text in attributes_of(owner).items() if name in said}
    keys, inner = [], []
    for name, value in schema["properties"].items():
        nested = _nested(types[name])
        if nested is None:
            given = {"default": defaults[name]} if name in defaults else {}
            required = name in schema.get("required", []) and not given
            default = _default(value | given, required=required)
            keys.append((code(name), _kind(value, definitions), default, said[name]))
        else:
            where = f"{path}{name}{'.<name>' if get_origin(types[name]) is dict else ''}"
            inner.append((nested, where, value.get("default") or {}))
    if path:
        yield f"### `[{path.removesuffix('.')}]`\n\n{doc(model)}"
    if keys:
        yield table(("key", "value", "default", "meaning"), keys)
    for nested, where, given in inner:
        yield from _sections(nested, f"{where}.", given)


def _schema(model: Model) -> dict[str, Any]:
    """Return the JSON Schema of one section, with what it refers to under `$defs`."""
    if issubclass(model, BaseModel):
        return model.model_json_schema()
    types = get_type_hints(model, include_extras=True)
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for each in msgspec.structs.fields(model):
        schema: dict[str, Any] = {"type": "object"} if _nested(types[each.name]) else _schema_of(types[each.name])
        definitions |= schema.pop("$defs", {})
        default = {} if each.default is msgspec.NODEFAULT else {"default": _plain(each.default)}
        properties[each.name] = schema | default
    required = [each.name for each in msgspec.structs.fields(model) if each.required]
    return {"properties": properties, "required": required, "$defs": definitions}


def _schema_of(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(kind, schema_hook=lambda _: {"type": "string", "format": "path"})


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=str)


def _descriptions(model: Model) -> dict[str, str]:
    if not issubclass(model, BaseModel):
        return {}
    return {name: value.description or "" for name, value in model.model_fields.items()}


def _nested(annotation: Any) -> Model | None:
    """Return the model behind an annotation: the model itself, or what a mapping holds."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel | msgspec.Struct)), None)


def _default(schema: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    if schema.get("uniqueItems"):
        default = sorted(default or ())
    return "" if default is None or default == "" else code(json.dumps(default, ensure_ascii=False))


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return in words what a JSON Schema allows."""
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rsplit("/", maxsplit=1)[-1]], definitions)
    if "enum" in schema:
        return " or ".join(code(str(value)) for value in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kinds = [_kind(one, definitions) for one in schema[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), definitions)}"
    names = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "table"}
    name = "path" if schema.get("format") == "path" else names.get(schema.get("type", ""), schema.get("type", "any"))
    return name + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    pattern = [f"like `{schema['pattern']}`"] if "pattern" in schema else []
    return ", ".join(["", *limits, *pattern])


# --- command line ----------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Return the help of every command."""
    root = click.Context(fleetmend, info_name="fleetmend", terminal_width=HELP_WIDTH, **fleetmend.context_settings)
    daemon = controller.main.main
    beside = click.Context(daemon, info_name="fleetmend-controller", terminal_width=HELP_WIDTH)
    return page("Command line", *_commands(fleetmend, root), *_commands(daemon, beside))


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, click.Context(inner, parent=context, info_name=name, terminal_width=HELP_WIDTH))


# --- topics and messages ---------------------------------------------------------------------------------------------


def topics_page() -> str:
    """Return what travels over MQTT."""
    channels = member_docs(wire.topics.Channel)
    rows = [(code(channel.value), channels[channel.name]) for channel in wire.topics.Channel]
    bodies = [
        kind
        for _, kind in inspect.getmembers(wire.messages, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is not None
    ]
    inner = (wire.messages.CheckLevel, wire.messages.NodeFacts)
    return page(
        "Topics and messages",
        doc(wire.topics),
        table(("channel", "who says what"), rows),
        f"Messages are JSON, version {wire.messages.VERSION}, at most {wire.messages.MAX_BYTES} bytes.",
        _record("Envelope", wire.messages.Envelope),
        "## Bodies\n\n`type` says which one it is.",
        *(_record(f"type: {kind.__struct_config__.tag}", kind) for kind in sorted(bodies, key=_tag)),
        "## Parts of bodies",
        *(_record(kind.__name__, kind) for kind in inner),
        _record("Finding", checks.finding.Finding),
        _record("Order (the payload that is signed)", wire.orders.Order),
        "## Words",
        _members("Verdict", checks.finding.Verdict),
        _members("Action, weakest first", checks.finding.Action),
        _members("OrderAction", wire.orders.OrderAction),
    )


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _record(title: str, kind: type) -> str:
    said = attributes_of(kind) | member_docs(kind)
    defaults = _defaults(kind)
    rows = [
        (code(name), code(str(annotation)), code(defaults.get(name, "")) or "required", said.get(name, ""))
        for name, annotation in inspect.get_annotations(kind).items()
    ]
    return f"### {title}\n\n{doc(kind)}\n\n{table(('field', 'type', 'default', 'meaning'), rows)}"


def _defaults(kind: type) -> dict[str, str]:
    """Return the defaults of a class as they are written."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    written = {
        ast.unparse(line.target): ast.unparse(line.value)
        for line in tree.body
        if isinstance(line, ast.AnnAssign) and line.value is not None
    }
    return {name: "{}" if text == "field(default_factory=dict)" else text for name, text in written.items()}


def _members(title: str, kind: type[StrEnum]) -> str:
    said = member_docs(kind)
    rows = [(code(str(value)), said.get(name, "")) for name, value in kind.__members__.items()]
    head, shown = (("value", "meaning"), rows) if any(text for _, text in rows) else (("value",), [r[:1] for r in rows])
    return f"### {title}\n\n{doc(kind)}\n\n{table(head, shown)}"


# --- playbooks -------------------------------------------------------------------------------------------------------


def playbooks_page() -> str:
    """Return what a playbook file may say."""
    schema = playbooks.schema()
    keys = schema["properties"]
    intro = (
        "One YAML file a fault family, in `playbooks/` or in the folder that the controller's `playbooks` names. "
        "`fleetmend playbook lint` reports every problem of every file with its line; besides the shape below it "
        "checks that jumps go forward, that a repair follows a cordon, and that no path returns a node unverified."
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
        (code(name), _kind(value, {}), _default(value, required=name in required), value.get("description", ""))
        for name, value in schema["properties"].items()
    ]
    return table(("key", "value", "default", "meaning"), rows)


# --- log events ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class LogEvent:
    """One literal name, and where it is said."""

    levels: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


def log_events_page() -> str:
    """Return every event that our programs log."""
    intro = (
        "One event a line on stderr: JSON, or coloured text on a terminal. `event` is one of these literals; the same "
        "key means the same thing everywhere, and a unit is part of its name."
    )
    rows = [
        (
            code(name),
            ", ".join(sorted(e.levels)),
            ", ".join(code(k) for k in sorted(e.keys)),
            ", ".join(sorted(e.files)),
        )
        for name, e in sorted(collect_log_events().items())
    ]
    return page("Log events", intro, table(("event", "level", "keys", "said in"), rows))


def collect_log_events() -> dict[str, LogEvent]:
    """Return the events named in calls of `log`, or of a function that hands its `event` on to `log`."""
    events: dict[str, LogEvent] = {}
    for path in sorted(path for folder in LOGGING_FOLDERS for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        relays = dict(_relays(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name, level = _literal(call), _level(call) or relays.get(_called(call), "")
            if level and name:
                event = events.setdefault(name, LogEvent())
                event.levels.add(level)
                event.keys |= {keyword.arg for keyword in call.keywords if keyword.arg} - {"exc_info"}
                event.files.add(str(path.relative_to(ROOT)))
    return events


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _level(call: ast.Call) -> str:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in LOG_LEVELS:
        return ""
    is_log = isinstance(function.value, ast.Name) and function.value.id == "log"
    return ("error" if function.attr == "exception" else function.attr) if is_log else ""


def _literal(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    is_name = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return str(first.value) if isinstance(first, ast.Constant) and is_name else ""


def _relays(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if _level(call) and call.args and isinstance(call.args[0], ast.Name):
                yield function.name, _level(call)


# --- errors and exit codes -------------------------------------------------------------------------------------------


def errors_page() -> str:
    """Return what goes wrong in words and in numbers."""
    codes = [(str(int(code_)), meaning) for code_, meaning in MEANINGS.items()]
    daemon = [
        (str(controller.main.EX_IOERR), "controller: the event log cannot be read or written"),
        (
            str(controller.main.EX_TEMPFAIL),
            "controller: another one has the state directory or leads now, or the port is taken",
        ),
        (str(agent.settings.EX_CONFIG), "both: the configuration, a playbook or the key cannot be used; not retried"),
    ]
    refusals = (
        checks.errors.CannotObserve,
        checks.errors.CannotJudge,
        wire.messages.Refused,
        wire.transport.NotPublished,
        agent.machine.ActionRefused,
        agent.machine.ActionFailed,
        controller.errors.Retryable,
        controller.errors.InDoubt,
        controller.errors.Permanent,
        controller.errors.Refused,
        controller.errors.NotLeading,
        controller.leadership.LeadershipLost,
        controller.store.log.StoreError,
        controller.store.log.Fenced,
    )
    rows = [(code(f"{kind.__module__}.{kind.__name__}"), doc(kind)) for kind in refusals]
    return page(
        "Errors and exit codes",
        "## fleetmend",
        table(("exit code", "meaning"), codes),
        "## fleetmend-controller and fleetmend-agent\n\n0 after SIGTERM or SIGINT, and else:",
        table(("exit code", "meaning"), daemon),
        "## Inside\n\nIll health is a value, a finding; failing to look and failing to act are errors.",
        table(("error", "what it says"), rows),
    )


BUILDERS: dict[str, Callable[[], str]] = {
    "coverage.md": coverage_page,
    "checks.md": checks_page,
    "cli.md": cli_page,
    "errors-and-exit-codes.md": errors_page,
    "history-rules.md": history_rules_page,
    "incident-states.md": incident_states_page,
    "log-events.md": log_events_page,
    "measures.md": measures_page,
    "playbook-schema.md": playbooks_page,
    "scheduler-hook.md": scheduler_hook_page,
    "settings.md": settings_page,
    "topics.md": topics_page,
}


def drifted(folder: Path) -> list[str]:
    """Return the pages that are missing or no longer say what the code does."""
    return [
        name
        for name, build in BUILDERS.items()
        if not (folder / name).is_file() or (folder / name).read_text() != build()
    ]


def main() -> None:
    """Write every page; with --check write none, and exit with 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name the pages that differ")
    if parser.parse_args().check:
        differing = drifted(PAGES)
        if differing:
            sys.exit(f"docs/reference differs from the code in {', '.join(differing)}: run `make docs`")
        return
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, build in BUILDERS.items():
        (PAGES / name).write_text(build())


if __name__ == "__main__":
    main()
