"""`fleetmend setup`: settings, secrets, keys and units of an agent, a controller and a broker on this host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cli.commands import setup_controller
from cli.commands.setup_user import broker_user
from cli.printing import plain
from cli.setting_up import agent as planned
from cli.setting_up.asking import Asking, keys_in, places_in, toml_in
from cli.setting_up.closing import try_broker
from cli.setting_up.course import Wishes, Work, judged
from cli.setting_up.kept import kept_document, kept_password, needs_broker
from cli.setting_up.options import BROKER, COURSE, FILE, access_of, with_options
from cli.setting_up.plan import Plan
from cli.setting_up.whole import Setup, asks_broker

OWN = ("node", "allow", "place", "metrics_port", "trusted_key", "trusted_keys")


@click.group()
def setup() -> None:
    """Set up this host as an agent's or the controller's, and say what is next.

    Asks at a terminal, and takes flags anywhere (--yes). Every file is written whole, all of them or none, and none
    that is there already and holds something else (--force). Settings that are there are kept when no flag says
    otherwise: then the rest is set up around them. Done twice, the second time changes nothing.
    """


@setup.command()
@click.option("--node", metavar="NAME", help="What the scheduler calls this host (default: its host name).")
@click.option(
    "--allow",
    type=click.Choice(list(planned.ALLOWED)),
    multiple=True,
    help="What the controller may order beyond looking; more than one may be given.",
)
@click.option("--place", metavar="KIND=NAME", multiple=True, help="Where it stands, e.g. rack=r12, pool=research.")
@click.option("--metrics-port", metavar="PORT", type=click.IntRange(1, 65_535), help="Where Prometheus scrapes it.")
@click.option("--trusted-key", metavar="'ID KEY'", multiple=True, help="A line of `fleetmend keys show`.")
@click.option("--trusted-keys", metavar="FILE", type=FILE, help="What `fleetmend keys show --toml` printed.")
@with_options(BROKER, COURSE)
def agent(**given: Any) -> None:
    """Set up the agent of this host.

    Writes /etc/fleetmend/agent.toml, the password as a credential of systemd, and what units and drop-ins are not there
    yet; asks the broker first whether it lets this node in.
    """
    SETUP.run(given)


def _anew(given: Mapping[str, Any], asking: Asking, wishes: Wishes) -> tuple[Work, dict[str, Any]]:
    answers = _answers(given, asking, wishes)
    document = planned.document(answers, wishes.host)
    judged(lambda: planned.read_back(_without_password(document), wishes.place))
    kept = kept_password(planned.PART, wishes)
    if asks_broker(planned.PART, given, wishes):
        try_broker(answers.access, kept)
    settings = planned.settings_plan(answers, wishes.host)
    return _work(document, settings, answers.allow, wishes), document


def _around(document: dict[str, Any], _: Mapping[str, Any], wishes: Wishes) -> Work:
    orders = document.get("orders_allowed", ())
    allow = tuple(name for name, ours in planned.ALLOWED.items() if set(ours) & set(orders))
    return _work(document, Plan(), allow, wishes)


def _work(document: dict[str, Any], settings: Plan, allow: tuple[str, ...], wishes: Wishes) -> Work:
    folders = planned.PART.own_folders(wishes.host)
    is_enrolled = planned.renews(document)
    return Work(
        base=planned.base_plan(allow, wishes.host, wishes.place, is_enrolled=is_enrolled),
        owned=Plan(folders).and_then(settings),
        finish=lambda: planned.read_back(document, wishes.place),
        enabled=planned.enabled_units(allow, is_enrolled=is_enrolled),
        started=(planned.SERVICE,),
    )


def _answers(given: Mapping[str, Any], asking: Asking, wishes: Wishes) -> planned.Answers:
    node = asking.text(given["node"], "What does the scheduler call this host?", wishes.host.name)
    url = needs_broker(asking.text(given["broker"], "The broker (mqtt://HOST:PORT or mqtts://HOST:PORT)"))
    access = access_of(given, asking, url=url, username=node)
    trusted = keys_in(given["trusted_key"], given["trusted_keys"])
    if not trusted and asking.is_interactive:
        line = asking.text(None, "Key of the controller, as `fleetmend keys show` prints it (empty: obey nobody yet)")
        trusted = keys_in([line] if line else [], None)
    return planned.Answers(
        node=node,
        access=access,
        cell=given["cell"] or "main",
        allow=given["allow"],
        places=places_in(given["place"]),
        metrics_port=given["metrics_port"] or 0,
        trusted_keys=trusted,
        more=toml_in(given["more"]) if given["more"] else {},
    )


def _without_password(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as they can be judged before the password is written."""
    broker = {key: value for key, value in document["broker"].items() if key != "password_file"}
    return {**document, "broker": broker}


def _tell_next(wishes: Wishes) -> None:
    document = kept_document(planned.FILE, wishes.place) or {}
    if not document.get("trusted_keys"):
        click.echo(
            "Next: it trusts no controller yet and refuses every order. On the controller's host, `fleetmend keys show "
            "--toml` prints what to add to /etc/fleetmend/agent.toml; `systemctl reload fleetmend-agent` then."
        )
    if not wishes.starts:
        click.echo(
            plain(f"Next: systemctl enable --now {planned.SERVICE}" if wishes.place.is_live else "Next: boot it.")
        )
    click.echo(
        "Next: `fleetmend doctor agent` says what is missing on this host; `fleetmend inventory` what it is made of."
    )


SETUP = Setup(
    planned.PART,
    OWN,
    usual_user=lambda document, wishes: str(document.get("node", wishes.host.name)),
    around=_around,
    anew=_anew,
    tell_next=_tell_next,
)

setup.add_command(setup_controller.controller)
setup.add_command(broker_user)
