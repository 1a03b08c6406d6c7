"""`fleetmend setup controller`: the controller of a cell, and, where that is wanted, its broker."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, get_args

import click

from cli.broker import CONTROLLER
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import plain
from cli.setting_up import broker as broker_parts
from cli.setting_up import controller as planned
from cli.setting_up.asking import Asking, toml_in
from cli.setting_up.closing import runs, try_broker
from cli.setting_up.course import Wishes, Work, judged
from cli.setting_up.kept import kept_document, kept_password, needs_broker
from cli.setting_up.options import BROKER, COURSE, access_of, with_options
from cli.setting_up.part import Access
from cli.setting_up.plan import Owners, Plan
from cli.setting_up.whole import Setup, asks_broker
from controller import keys
from controller.policy.playbook import Mode
from controller.sections.schedulers import SchedulerSection
from controller.settings import ControllerSettings
from controller.store.signing import key_file

SCHEDULERS: Final[tuple[str, ...]] = get_args(SchedulerSection.model_fields["kind"].annotation)
MODES: Final = tuple(mode.value for mode in Mode)
HERE: Final = "mqtt://127.0.0.1:1883"
PASSWORD_BYTES: Final = 32
BROKER_OWN: Final = ("with_broker", "broker_listen", "broker_certificate_file", "broker_key_file")
OWN: Final = (*BROKER_OWN, "scheduler", "budget", "mode", "http", "http_certificate_file", "http_key_file")


class HostAndPort(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return host and port."""
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65_535:
            self.fail(f"{value!r} is not HOST:PORT, e.g. 0.0.0.0:8642", param, ctx)
        return host, int(port)


class Budget(click.ParamType[str]):
    """A share of the fleet or a number of nodes."""

    name = "N|N%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not str(value).removesuffix("%").isdecimal():
            self.fail(f"{value!r} is neither a number of nodes nor a share like 5%", param, ctx)
        return str(value)


@click.command()
@click.option("--with-broker/--without-broker", default=None, help="Set up the broker here, too: Mosquitto.")
@click.option("--broker-listen", type=HostAndPort(), help="Where that listens (default: 1883, by TLS 8883, of all).")
@click.option("--broker-certificate-file", metavar="FILE", help="Its certificate: without one it speaks no TLS.")
@click.option("--broker-key-file", metavar="FILE", help="The private key of that; the group fleetmend-broker reads it.")
@click.option("--scheduler", type=click.Choice(SCHEDULERS), help="Who places work on nodes (default: what is here).")
@click.option("--budget", type=Budget(), help="How many nodes may be out at once (default: 5%).")
@click.option("--mode", type=click.Choice(MODES), help="How far playbooks go by themselves (default: ask).")
@click.option("--http", type=HostAndPort(), help="Where page and API listen (default: 127.0.0.1:8642).")
@click.option("--http-certificate-file", metavar="FILE", help="Their certificate: needed beyond 127.0.0.1.")
@click.option("--http-key-file", metavar="FILE", help="The private key of that.")
@click.option("--backup/--no-backup", default=True, show_default=True, help="Back up the event log every day.")
@with_options(BROKER, COURSE)
def controller(**given: Any) -> None:
    """Set up the controller of a cell on this host.

    Writes /etc/fleetmend/controller.toml, its password as a credential of systemd, the key that signs orders, and what
    units are not there yet; with --with-broker the files of Mosquitto as well. Prints what agents are told of its key.
    """
    SETUP.run(given)


def _anew(given: Mapping[str, Any], asking: Asking, wishes: Wishes) -> tuple[Work, dict[str, Any]]:
    is_here = asking.yes(given["with_broker"], "Set up the broker on this host, too (Mosquitto)?", default=False)
    if is_here:
        _needs_mosquitto(wishes)
    answers = _answers(given, asking, wishes, is_here=is_here)
    document = planned.document(answers, wishes.host)
    judged(lambda: planned.read_back(document, wishes.place))
    if not is_here and asks_broker(planned.PART, given, wishes):
        try_broker(answers.access, kept_password(planned.PART, wishes))
    plans = planned.settings_plan(answers, wishes.host)
    if is_here:
        plans = _broker_files(answers, given, wishes).and_then(plans)
    return _work(document, plans, given, wishes, has_broker=is_here), document


def _around(document: dict[str, Any], given: Mapping[str, Any], wishes: Wishes) -> Work:
    return _work(document, Plan(), given, wishes, has_broker=False)


def _work(document: dict[str, Any], plans: Plan, given: Mapping[str, Any], wishes: Wishes, *, has_broker: bool) -> Work:
    backs_up: bool = given["backup"]
    folders = planned.owned_folders(wishes.host, backs_up=backs_up)
    base = planned.base_plan(wishes.host, wishes.place, backs_up=backs_up)
    enabled = planned.enabled_units(backs_up=backs_up)
    started: tuple[str, ...] = (planned.SERVICE,)
    if has_broker:
        folders = (*broker_parts.owned_folders(), *folders)
        base = broker_parts.base_plan(wishes.place).and_then(base)
        enabled, started = (f"{broker_parts.SERVICE}.service", *enabled), (broker_parts.SERVICE, *started)
    owned = Plan(folders).and_then(plans)
    return Work(base, owned, lambda: _finish(document, wishes), enabled, started)


def _finish(document: dict[str, Any], wishes: Wishes) -> None:
    """Look at the settings as the controller will, and make its key where there is none."""
    settings = planned.read_back(document, wishes.place)
    path = _key_file(settings, wishes)
    keys.load_or_make(path)
    owners = Owners.of(wishes.place)
    if os.geteuid() == 0 and planned.USER in owners.users:
        os.chown(path, owners.users[planned.USER], owners.groups.get(planned.USER, -1))


def _key_file(settings: ControllerSettings, wishes: Wishes) -> Any:
    path = key_file(settings)
    return path if path.is_relative_to(wishes.place.root) and not wishes.place.is_live else wishes.place.at(path)


def _answers(given: Mapping[str, Any], asking: Asking, wishes: Wishes, *, is_here: bool) -> planned.Answers:
    question = "The broker (mqtt://HOST:PORT or mqtts://HOST:PORT)"
    url = given["broker"] or (HERE if is_here else needs_broker(asking.text(None, question)))
    access = _own_access(given, url, wishes) if is_here else access_of(given, asking, url=url, username=CONTROLLER)
    found = wishes.host.scheduler
    return planned.Answers(
        access=access,
        cell=given["cell"] or "main",
        scheduler=asking.choice(given["scheduler"], "Who places work on nodes?", SCHEDULERS, found),
        budget=asking.text(given["budget"], "How many nodes may be out at once (a number, or a share)?", "5%"),
        mode=asking.choice(given["mode"], "How far may playbooks go by themselves?", MODES, Mode.ASK),
        http=given["http"] or ("127.0.0.1", 8642),
        http_certificate_file=given["http_certificate_file"] or "",
        http_key_file=given["http_key_file"] or "",
        backs_up=given["backup"],
        more=toml_in(given["more"]) if given["more"] else {},
    )


def _needs_mosquitto(wishes: Wishes) -> None:
    """Refuse a broker that could not start.

    Raises:
        Failed: there is no Mosquitto, or another has the port.
    """
    if not wishes.place.is_live:
        return
    if not wishes.host.has_mosquitto:
        raise Failed("there is no Mosquitto here: install the package mosquitto first", ExitCode.NO_INPUT)
    if runs("mosquitto", wishes):
        raise Failed("mosquitto.service has the port: systemctl disable --now mosquitto first", ExitCode.REFUSED_NOW)


def _own_access(given: Mapping[str, Any], url: str, wishes: Wishes) -> Access:
    """Return how the controller reaches a broker that is set up with it: by a password that nobody need know."""
    access = access_of(given, Asking(is_interactive=False), url=url, username=CONTROLLER)
    if access.password is None:
        made = kept_password(planned.PART, wishes) or secrets.token_urlsafe(PASSWORD_BYTES)
        access = replace(access, password=made)
    return access


def _broker_files(answers: planned.Answers, given: Mapping[str, Any], wishes: Wishes) -> Plan:
    """Return what the broker is to have.

    Raises:
        Failed: its certificate or its key is not there.
    """
    users = wishes.place.at(broker_parts.USERS)
    before = users.read_text("utf-8") if users.exists() and os.access(users, os.R_OK) else ""
    address, port = given["broker_listen"] or ("", 0)
    files = (given["broker_certificate_file"] or "", given["broker_key_file"] or "")
    listener = broker_parts.Listener(address, port, *files)
    gone = [path for path in files if path and not wishes.place.at(path).is_file()]
    if gone and wishes.place.is_live:
        raise Failed(f"there is no {', and no '.join(gone)}: the broker cannot speak TLS", ExitCode.NO_INPUT)
    users_wanted = {answers.access.username: answers.access.password or ""}
    plans = broker_parts.plan(answers.cell, users_wanted, before, listener=listener)
    return plans if gone else plans.and_then(broker_parts.readable(listener.key_file))


def _tell_next(wishes: Wishes) -> None:
    document = kept_document(planned.FILE, wishes.place) or {}
    path = _key_file(planned.read_back(document, wishes.place), wishes)
    key = keys.load(path)
    click.echo(f"Agents trust this controller by\n\n{keys.table_of(key)}\n")
    click.echo(plain(f"Next: on each node, fleetmend setup agent --trusted-key '{keys.line_of(key)}' --broker URL"))
    if wishes.place.at(broker_parts.LIMITS).exists() and not wishes.host.has_nft:
        click.echo(
            "Next: install nftables, and restart fleetmend-broker: until then one node can slow all others down."
        )
    if wishes.place.at(broker_parts.USERS).exists():
        click.echo("Next: a user at the broker for each node, fleetmend setup broker-user NODE --output FILE.")
    if not wishes.starts:
        click.echo(f"Next: systemctl enable --now {planned.SERVICE}.")
    if document.get("modes", {}).get("fleet") == Mode.ASK:
        click.echo(f"Next: every plan waits for `fleetmend approve`; [modes] in {planned.FILE} says which may act.")
    if "access" not in document:
        click.echo("Next: whoever is on this host may do all; [access] asks who one is (docs/how-to/access.md).")
    click.echo("Next: `fleetmend doctor controller` says what is missing or unsafe on this host.")


SETUP: Final = Setup(
    planned.PART, OWN, usual_user=lambda *_: CONTROLLER, around=_around, anew=_anew, tell_next=_tell_next
)
