"""Blocks that are files: each is read by what reads it in service, after what a part of a file needs around it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w
from ruamel.yaml import YAML

from agent.settings import SettingsError as NoAgentSettings
from agent.settings import load_settings
from controller.pages.chat import address_of
from controller.playbooks import lint
from controller.power.bmcs import read_file
from controller.settings import SettingsError, load
from controller.simulation.model import load_model
from controller.topology import file as places_file
from controller.topology.source import Unreadable
from tests.support.checkout import ROOT
from tests.support.documents.blocks import Block
from tests.support.parts import missing

UNIT = re.compile(r"^# (?:systemctl edit (?P<edited>[\w.-]+)|/etc/systemd/system/(?P<path>[\w.-]+)\.d/)", re.MULTILINE)
PASSWORD = re.compile(r"^(password_file = ).*", re.MULTILINE)
BARE_PLAYBOOK = """\
playbook: shown
summary: What a page shows a part of.
fault_class: shown
severity: warning
precedence: 1
mode: ask
answers:
  - {check: site.shown}
guards: {drain: needed, reversible: true}
hand_over:
  - ticket: {team: platform}
"""


def controller_settings(block: Block, folder: Path) -> str:
    """Return what is wrong with a controller's settings; `state` need not be among them."""
    try:
        load(_written(folder / "controller.toml", {"state": str(folder)}, block))
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        return str(error)
    return ""


def agent_settings(block: Block, folder: Path) -> str:
    """Return what is wrong with an agent's settings; `node`, `broker` and a password's file need not be there."""
    secret = folder / "password"
    secret.write_text("secret")
    secret.chmod(0o600)
    try:
        path = _written(folder / "agent.toml", {"node": "n1", "broker": {"url": "mqtt://broker.example"}}, block)
        path.write_text(PASSWORD.sub(rf'\1"{secret}"', path.read_text()))
        load_settings(path)
    except (NoAgentSettings, tomllib.TOMLDecodeError) as error:
        return str(error)
    return ""


def simulated_faults(block: Block, folder: Path) -> str:
    """Return what is wrong with what differs from the fault model."""
    path = folder / "model.toml"
    path.write_text(block.replaced())
    try:
        load_model(path)
    except SettingsError as error:
        return str(error)
    return ""


def _written(path: Path, around: Mapping[str, Any], block: Block) -> Path:
    path.write_text(tomli_w.dumps({**around, **tomllib.loads(block.replaced())}))
    return path


def playbook(block: Block, folder: Path) -> str:
    """Return what is wrong with a whole playbook."""
    text = block.replaced()
    file = folder / f"{YAML(typ='safe').load(text)['playbook']}.yaml"
    file.write_text(text)
    return "\n".join(map(str, lint([file])))


def steps(block: Block, folder: Path) -> str:
    """Return what is wrong with steps of a playbook: all of them below `steps:`, or one of several."""
    read = YAML(typ="safe").load(block.replaced().removesuffix("...\n"))
    if isinstance(read, list):
        read = {"steps": [{"cordon": {}}, {"drain": {"jobs": "requeue"}}, *read]}
    last = next(iter(read["steps"][-1]))
    read["steps"] += [] if last in {"verify", "uncordon"} else [{"verify": {"name": "verify_in_the_end"}}]
    read["steps"] += [] if last == "uncordon" else [{"uncordon": {}}]
    file = folder / "shown.yaml"
    file.write_text(BARE_PLAYBOOK + json.dumps(read["steps"], indent=1).join(("steps: ", "\n")))
    return "\n".join(map(str, lint([file])))


def prometheus(block: Block, folder: Path) -> str:
    """Return what Prometheus has against its configuration."""
    shutil.copytree(ROOT / "monitoring", folder, dirs_exist_ok=True)
    (folder / "fleetmend-agents.json").write_text('[{"targets": ["n1:9643"]}]')
    (folder / "prometheus.yaml").write_text(block.replaced())
    return _told("promtool", "check", "config", str(folder / "prometheus.yaml"))


def alertmanager(block: Block, folder: Path) -> str:
    """Return what Alertmanager has against its configuration; the receivers are added."""
    read = YAML(typ="safe").load(block.replaced())
    named = {each["receiver"] for each in read["route"]["routes"]} | {"all"}
    read["route"].setdefault("receiver", "all")
    (folder / "alertmanager.json").write_text(json.dumps({**read, "receivers": [{"name": name} for name in named]}))
    return _told("amtool", "check-config", str(folder / "alertmanager.json"))


def unit(block: Block, folder: Path) -> str:
    """Return what systemd has against a drop-in of one of our units, or of one that a site has."""
    found = UNIT.search(block.text)
    assert found is not None, f"{block.where}: does not say whose drop-in it is"
    name = (found["edited"] or found["path"]).removesuffix(".service") + ".service"
    ours = ROOT / "systemd" / name
    service = folder / name
    service.write_text(_without_programs(ours) if ours.exists() else "[Service]\nExecStart=/bin/true\n")
    drop_in = folder / f"{name}.d" / "shown.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(block.replaced())
    told = _told("systemd-analyze", "verify", "--man=no", str(service))
    return "\n".join(line for line in told.splitlines() if "shown.conf" in line)


def _without_programs(file: Path) -> str:
    return re.sub(r"^(Exec\w+)=.*(?:\\\n.*)*$", r"\1=/bin/true", file.read_text(), flags=re.MULTILINE)


def places(block: Block, folder: Path) -> str:
    """Return what is wrong with a file of places."""
    try:
        places_file.parse(block.replaced(), folder / "places.csv")
    except Unreadable as error:
        return str(error)
    return ""


def bmcs(block: Block, folder: Path) -> str:
    """Return what is wrong with a file of BMCs."""
    file = folder / "bmcs.csv"
    file.write_text(block.replaced())
    return "\n".join(read_file(file)[1])


def apprise(block: Block, folder: Path) -> str:
    """Return which address of a chat is none."""
    assert folder.is_dir()
    lines = [line for line in block.replaced().splitlines() if line and not line.startswith("#")]
    try:
        for line in lines:
            address_of(line, "shown")
    except SettingsError as error:
        return str(error)
    return ""


def nats(block: Block, folder: Path) -> str:
    """Return what a NATS server has against its configuration; a file that is included is shown by itself."""
    (folder / "users.conf").touch()
    (folder / "nats.conf").write_text(block.replaced())
    return _told("nats-server", "--config", str(folder / "nats.conf"), "-t")


def json_text(block: Block, folder: Path) -> str:
    """Return why a text is no JSON."""
    assert folder.is_dir()
    try:
        json.loads(block.replaced())
    except ValueError as error:
        return str(error)
    return ""


def _told(program: str, *arguments: str) -> str:
    """Return what a program complains of, empty when it ends well."""
    if shutil.which(program) is None:
        missing(program)
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return f"{ended.stdout}{ended.stderr}" if ended.returncode or program == "systemd-analyze" else ""


Reader = Callable[[Block, Path], str]
FORMATS: Mapping[tuple[str, str], Reader] = MappingProxyType(
    {
        ("toml", "controller"): controller_settings,
        ("toml", "agent"): agent_settings,
        ("toml", "model"): simulated_faults,
        ("yaml", "playbook"): playbook,
        ("yaml", "steps"): steps,
        ("yaml", "prometheus"): prometheus,
        ("yaml", "alertmanager"): alertmanager,
        ("ini", "unit"): unit,
        ("csv", "places"): places,
        ("csv", "bmcs"): bmcs,
        ("text", "chats"): apprise,
        ("conf", "nats"): nats,
        ("json", ""): json_text,
    }
)
"""Kind and what stands behind it → what reads such a block in a folder of its own, and returns what is wrong."""
