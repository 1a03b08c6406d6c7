"""`fleetmend enrol`: a host gets its identity by a token, and renews it; and the tokens, where the controller runs."""

from __future__ import annotations

import re
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from cryptography.x509 import Certificate

from agent.enrolment import why_no_controllers
from cli.client import Failed, token_in
from cli.commands.enrol_token import token
from cli.enrolment import settings_file
from cli.enrolment.controllers import Pin, first_answer, identity_in
from cli.enrolment.identity import FOLDER, Identity, read_pair, renewed, renewed_from
from cli.enrolment.settings_file import Named
from cli.exit_codes import ExitCode
from cli.printing import plain
from controller.enrolment import proof
from controller.enrolment.nodes import why_no_node
from controller.pki.certificates import AuthorityKey, describe, key_to_pem, new_key
from controller.pki.requests import new_request

FINGERPRINT: Final = re.compile(r"SHA256:[0-9a-f]{64}", re.IGNORECASE)
LOST: Final = "nothing was changed: run the same again; if the answer alone was lost, within 15 minutes"
LATER: Final = "the certificate is still the one from before; the timer tries again"
MAX_TOKEN: Final = 1_000
NEXT: Final = "next: systemctl enable --now fleetmend-agent fleetmend-renew.timer"

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=settings_file.DEFAULT,
    show_default=True,
    help="The agent's configuration.",
)


@click.group(invoke_without_command=True)
@click.option("--controller", "controllers", multiple=True, metavar="URL", help="https:// address; several are tried.")
@click.option("--ca-fingerprint", metavar="SHA256:…", help="Of the authority: `fleetmend pki show` prints it.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CA of the controller's certificate, where that is of another authority.",
)
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds the one-time token; - is standard input.")
@click.option("--node", help="This host, as the scheduler names it.  [default: the host's own name]")
@click.option("--keep-settings", is_flag=True, help="Put the identity into the settings that are there.")
@click.option("--force", is_flag=True, help="Write the settings anew, whatever is there.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Where key and certificates go.",
)
@config_option
@click.pass_context
def enrol(context: click.Context, /, **options: Any) -> None:
    """Give this host an identity by a one-time token, and renew it.

    The host makes its key, which never leaves it; asks the controller, which proves itself first, for a certificate;
    and writes the agent's settings. Run again after whatever went wrong: a token is used up by a host and not by an
    attempt.
    """
    if context.invoked_subcommand is not None:
        return
    if options["ca_fingerprint"] and options["ca_file"]:
        raise click.UsageError("give one of --ca-fingerprint and --ca-file")
    pin = Pin(_fingerprint(options["ca_fingerprint"]), options["ca_file"])
    urls = _controllers(options["controllers"])
    node = _node(options["node"])
    if options["token_file"] is None:
        raise click.UsageError("give --token-file, with what `fleetmend enrol token make` printed")
    document = settings_file.before(options["config"], keep=options["keep_settings"], force=options["force"])
    identity = Identity(options["folder"].absolute())
    text = _token(options["token_file"])
    with identity.changing():
        key = identity.coming_key()
        csr = new_request(key, node).decode()
        given = first_answer(
            urls, lambda url: identity_in(pin.client(url, text).post("enrol", node=node, csr=csr)), lost=LOST
        )
        certificate = identity.take(given, key)
        settings_file.put(document, _settings(identity, given, urls, pin))
        settings_file.write_settings(options["config"], document)
        identity.settled()
    until = certificate.not_valid_after_utc
    click.echo(plain(f"{given['node']} of the cell {given['cell']} is enrolled until {until:%Y-%m-%d %H:%M} UTC"))
    click.echo(plain(f"written: {options['config']}, and key and certificates in {identity.folder}"))
    click.echo(NEXT)


enrol.add_command(token)


@enrol.command()
@click.option("--force", is_flag=True, help="Renew it now, however long it is good.")
@config_option
def renew(force: bool, config: Path) -> None:
    """Renew this host's certificate by the one that it has, with a new key, when a third of its life is left.

    `fleetmend-renew.timer` runs this four times a day. The agent takes the new one up by itself.
    """
    named = settings_file.named_in(config)
    with Identity(named.certificate.absolute().parent).changing():
        certificate, key = read_pair(named.certificate, named.key)
        due = renewed_from(certificate)
        if datetime.now(UTC) < due and not force:
            until = certificate.not_valid_after_utc
            click.echo(f"good until {until:%Y-%m-%d %H:%M} UTC; it is renewed from {due:%Y-%m-%d %H:%M} UTC on")
            return
        node = describe(certificate).common_name
        coming = new_key()
        text = _proof(named, new_request(coming, node), certificate, key)
        pin = Pin(ca_file=named.enrolment.ca_file)
        given = first_answer(
            named.enrolment.controllers,
            lambda url: identity_in(pin.client(url).post("enrol", "renew", proof=text)),
            lost=LATER,
        )
        fresh = renewed(given, coming, named)
    click.echo(plain(f"{node} is enrolled until {fresh.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"))


def _proof(named: Named, csr: bytes, certificate: Certificate, key: AuthorityKey) -> str:
    try:
        return proof.prove(csr, certificate=certificate, key_pem=key_to_pem(key), cell=named.cell, now=time.time())
    except ValueError as error:
        raise Failed(f"{named.key}: {error}: enrol the host anew", ExitCode.BAD_DATA) from error


def _settings(identity: Identity, given: dict[str, Any], urls: tuple[str, ...], pin: Pin) -> dict[str, Any]:
    """Return what goes into the agent's settings."""
    broker: list[str] = given["broker_url"]
    authority = _kept_authority(identity, pin)
    return {
        "node": given["node"],
        "cell": given["cell"],
        "broker": {
            "url": broker[0] if len(broker) == 1 else broker,
            "ca_file": str(identity.authorities),
            "certificate_file": str(identity.certificate),
            "key_file": str(identity.key),
        },
        "enrolment": {"controllers": list(urls), **({"ca_file": str(authority)} if authority is not None else {})},
        "trusted_keys": given["trusted_keys"],
    }


def _kept_authority(identity: Identity, pin: Pin) -> Path | None:
    """Return where the CA of the controllers is for renewals, `None` when the system knows it."""
    if pin.fingerprint:
        return identity.authorities
    if pin.ca_file is None:
        return None
    try:
        identity.keep_authority(pin.ca_file.read_bytes())
    except OSError as error:
        raise Failed(f"{pin.ca_file}: {error.strerror}", ExitCode.NO_INPUT) from error
    return identity.controllers


def _fingerprint(text: str | None) -> str:
    if text and not FINGERPRINT.fullmatch(text):
        raise click.BadParameter(
            "it is SHA256: and 64 hexadecimal digits, as `fleetmend pki show` prints it", param_hint="--ca-fingerprint"
        )
    return text or ""


def _controllers(urls: tuple[str, ...]) -> tuple[str, ...]:
    if not urls:
        raise click.UsageError("give --controller, the https:// address of one")
    if because := why_no_controllers(urls):
        raise click.BadParameter(because, param_hint="--controller")
    return urls


def _node(name: str | None) -> str:
    node = name or socket.gethostname()
    if because := why_no_node(node):
        raise click.BadParameter(because, param_hint="--node")
    return node


def _token(file: Path) -> str:
    if str(file) != "-":
        return token_in(file)
    text = sys.stdin.readline(MAX_TOKEN).strip()
    if not text:
        raise Failed("there is no token on standard input", ExitCode.NO_INPUT)
    return text
