"""`fleetmend pki`: the authority that says who may speak to the broker, and as whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final, TypeVar

import click

from cli.broker_trial import Seen, Visitor, try_brokers
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import cell, console, counted, plain, print_json
from cli.tables import table
from controller.access.files import write
from controller.api.moments import iso
from controller.pki.authority import DEFAULT_FOLDER, Authority, AuthorityError, Issued, Record, utc_now
from controller.pki.broker import TLS_PORT, TlsListener, access_rules
from controller.pki.certificates import CA_DAYS, Described, Kind, describe, from_pem
from wire.topics import NAME

Found = TypeVar("Found")
DAY_S: Final = 86_400
GROUP_MAY_READ: Final = 0o640
PUBLIC: Final = 0o644
BROKER_FOLDER: Final = Path("/etc/fleetmend/broker")

folder_option = click.option(
    "--pki",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Folder of the authority.",
)


@click.group()
def pki() -> None:
    """Keep the certificates by which broker, controllers and nodes know each other.

    Runs on the machine of the authority, on the files of its folder; no controller is asked.
    """


@pki.command()
@folder_option
@click.option("--days", type=click.IntRange(1, CA_DAYS), default=CA_DAYS, show_default=True, help="How long it lives.")
def init(folder: Path, days: int) -> None:
    """Make the authority of a cell. There must be none in the folder yet."""
    made = _told(lambda: Authority.found(folder, now=utc_now(), days=days))
    (ours,) = made.authorities()
    click.echo(plain(f"{folder}: {ours.common_name}, until {_date(ours.expires_at)}"))
    click.echo(f"fingerprint {ours.fingerprint}")
    click.echo(plain(f"keep a copy of {folder} where nobody reads it: whoever has ca-key.pem can be every node"))


@pki.command()
@click.argument("name")
@click.option(
    "--host", "hosts", multiple=True, metavar="HOST", help="Name or IP address it is reached by, as a server."
)
@click.option("--days", type=click.IntRange(1, CA_DAYS), default=365, show_default=True, help="How long it is good.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Folder that certificate.pem, key.pem and ca.pem are written to; its owner may read them.",
)
@click.option(
    "--csr", type=click.File("rb"), help="A request in PEM, for a key that was made elsewhere: no key.pem is written."
)
@folder_option
def issue(name: str, hosts: tuple[str, ...], days: int, output: Path, csr: BinaryIO | None, folder: Path) -> None:
    """Issue a certificate for NAME, with a new key.

    NAME says what it is for: `broker` (which needs --host), `controller` (with --host for its HTTP port, too), a person
    or program at the HTTP port where there is an @ in it, and else the node of that name.
    """
    authority, now = _authority(folder), utc_now()
    asked: dict[str, Any] = {"common_name": name, "kind": kind_of(name), "days": days, "now": now, "hosts": hosts}
    if csr is None:
        issued = _told(lambda: authority.issue(**asked))
    else:
        content = csr.read()
        issued = Issued(_told(lambda: authority.sign(content, **asked)), b"")
    _hand_over(issued, authority, output, key_mode=GROUP_MAY_READ if kind_of(name) is Kind.BROKER else 0o600)
    said = describe(from_pem(issued.certificate_pem)[0])
    click.echo(plain(f"{output}: {name}, serial {said.serial}, until {_date(said.expires_at)}"))


@pki.command()
@click.argument("which", metavar="NAME|SERIAL")
@folder_option
def revoke(which: str, folder: Path) -> None:
    """Revoke what NAME was given, or the one certificate with this SERIAL.

    The broker refuses it once it has read the new crl.pem; who is connected stays so until `cut`, or a restart of it.
    """
    authority = _authority(folder)
    gone = _told(lambda: authority.revoke(which, now=utc_now()), code=ExitCode.NO)
    for each in gone:
        click.echo(plain(f"revoked: {each.name}, serial {each.serial}"))
    click.echo(plain(f"now let the broker read {folder / 'crl.pem'}: systemctl reload fleetmend-broker"))
    click.echo("and end the connection that may stand: fleetmend pki cut NAME --broker mqtts://HOST:8883")


@pki.command()
@click.argument("name")
@click.option("--broker", "urls", multiple=True, required=True, metavar="URL", help="mqtts://; each node of a cluster.")
@folder_option
def cut(name: str, urls: tuple[str, ...], folder: Path) -> None:
    """End the connection that NAME has at the broker, once that has read what was revoked.

    Whoever comes under a name takes the place of who is there. So a certificate for NAME is made, shown to the broker
    once, and revoked, too. Whoever was cut off comes back if its certificate is good.
    """
    authority, now = _authority(folder), utc_now()
    issued = _told(lambda: authority.issue(common_name=name, kind=kind_of(name), days=1, now=now))
    serial = describe(from_pem(issued.certificate_pem)[0]).serial
    try:
        seen = _shown(issued, authority, urls)
    finally:
        _told(lambda: authority.revoke(serial, now=now))
    for each in seen:
        click.echo(plain(f"{each.address}: " + (f"{name} is cut off" if each.let_in else each.because)))
    if not all(each.let_in for each in seen):
        raise Failed(f"{name} may still be connected: a restart of the broker ends every connection", ExitCode.NO)


def _shown(issued: Issued, authority: Authority, urls: tuple[str, ...]) -> list[Seen]:
    """Return how brokers answer who shows a certificate, of which nothing stays on the disk."""
    with TemporaryDirectory(prefix="fleetmend-") as place:
        files = {name: Path(place) / f"{name}.pem" for name in ("ca", "certificate", "key")}
        _write(files["ca"], authority.bundle(), mode=PUBLIC)
        _write(files["certificate"], issued.certificate_pem, mode=PUBLIC)
        _write(files["key"], issued.key_pem, mode=0o600)
        visitor = Visitor(**{f"{name}_file": str(path) for name, path in files.items()})
        try:
            return try_brokers(urls, visitor)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--broker") from error


@pki.command()
@click.argument("step", type=click.Choice(["prepare", "switch", "retire"]))
@click.option("--force", is_flag=True, help="Retire the old CA though some still depend on it: they are shut out.")
@folder_option
def rotate(step: str, force: bool, folder: Path) -> None:
    """Let another CA take the place of the one that signs, in three steps.

    `prepare` makes it: ca.pem holds both from then on. When every node, controller and broker has that ca.pem, `switch`
    lets it sign. When everybody has a certificate of it, `retire` ends the trust in the one before.
    """
    authority = _authority(folder)
    match step:
        case "prepare":
            following = _told(lambda: authority.prepare(now=utc_now()), code=ExitCode.REFUSED_NOW)
            click.echo(plain(f"{following.common_name} is to follow; fingerprint {following.fingerprint}"))
            click.echo(plain(f"give {folder / 'ca.pem'} to every node, controller and broker before `rotate switch`"))
        case "switch":
            now_signing = _told(authority.switch, code=ExitCode.REFUSED_NOW)
            click.echo(plain(f"{now_signing.common_name} signs from now on: issue every certificate anew"))
        case _:
            _retire(authority, force=force)


@pki.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--all", "everything", is_flag=True, help="Expired and revoked ones, too.")
@folder_option
def show(as_json: bool, everything: bool, folder: Path) -> None:
    """Show the CAs and the certificates that are good, with the days that each has left."""
    authority = _authority(folder)
    now = utc_now()
    revoked = _told(authority.revoked)
    issued = [each for each in _told(authority.issued) if everything or _state(each, revoked, now) == "good"]
    if as_json:
        trusted = [_authority_row(each) for each in authority.authorities()]
        print_json({"authorities": trusted, "certificates": [_row(each, revoked, now) for each in issued]})
        return
    shown = table("authority", "days left", "until (UTC)", "fingerprint*")
    for each in authority.authorities():
        until = f"{each.expires_at:%Y-%m-%d %H:%M}"
        shown.add_row(cell(each.common_name), _days_left(each.expires_at.timestamp(), now), until, each.fingerprint)
    console().print(shown)
    given = table("name", "kind", "days left", "state", "serial", "signed by*")
    for record in issued:
        state = _state(record, revoked, now)
        days = _days_left(record.expires_at, now)
        given.add_row(cell(record.name), record.kind, days, state, record.serial, cell(record.issuer))
    console().print(given if issued else "No certificate.")


@pki.command("broker-config")
@click.option("--output", "-o", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Write it there.")
@click.option(
    "--folder",
    "place",
    type=click.Path(path_type=Path),
    default=BROKER_FOLDER,
    show_default=True,
    help="Where the broker has its certificate.pem, key.pem and acl.",
)
@click.option("--trust", type=click.Path(path_type=Path), help="Where it has ca.pem and crl.pem; default: --pki.")
@click.option("--port", type=click.IntRange(1, 65_535), default=TLS_PORT, show_default=True)
@click.option("--address", default="", help="To listen on; default: every one.")
@click.option("--cell", "name", default="main", show_default=True, help="Whose nodes these are.")
@folder_option
def broker_config(
    output: Path | None, place: Path, trust: Path | None, port: int, address: str, name: str, folder: Path
) -> None:
    """Print the part of mosquitto.conf by which the broker speaks TLS, and its access rules.

    With --output, they are written to tls.conf and acl there.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is not letters, digits, '.', '_' and '-'", param_hint="--cell")
    if trust is None:
        _authority(folder)
    listener = TlsListener(place.absolute(), (trust or folder).absolute(), port, address)
    if output is None:
        click.echo(f"{listener.configuration()}\n# acl\n{access_rules(name)}", nl=False)
        return
    _write(output / "tls.conf", listener.configuration().encode(), mode=GROUP_MAY_READ)
    _write(output / "acl", access_rules(name).encode(), mode=GROUP_MAY_READ)
    click.echo(plain(f"written: {output / 'tls.conf'}, {output / 'acl'}"))


def kind_of(name: str) -> Kind:
    """Return what a certificate for this name is for."""
    if name in {Kind.BROKER, Kind.CONTROLLER}:
        return Kind(name)
    return Kind.CLIENT if "@" in name else Kind.AGENT


def _retire(authority: Authority, *, force: bool) -> None:
    waiting = sorted({each.name for each in _told(lambda: authority.dependent(now=utc_now()))})
    if waiting and not force:
        some = ", ".join(waiting[:10]) + (", ..." if len(waiting) > 10 else "")
        raise Failed(
            f"{counted(len(waiting), 'name')} would be shut out: {some}. Issue their certificates anew, or --force",
            ExitCode.REFUSED_NOW,
        )
    for each in _told(authority.retire, code=ExitCode.REFUSED_NOW):
        click.echo(plain(f"{each.common_name} is trusted no more"))
    click.echo(plain(f"give {authority.folder / 'ca.pem'} and crl.pem to whoever has the ones from before"))


def _hand_over(issued: Issued, authority: Authority, output: Path, *, key_mode: int) -> None:
    """Write the key first: whoever watches takes a pair up when the certificate is there, too."""
    if issued.key_pem:
        _write(output / "key.pem", issued.key_pem, mode=key_mode)
    _write(output / "ca.pem", authority.bundle(), mode=PUBLIC)
    _write(output / "certificate.pem", issued.certificate_pem, mode=PUBLIC)


def _told(act: Callable[[], Found], *, code: ExitCode = ExitCode.CONFIG) -> Found:
    """Turn what can go wrong into a sentence and an exit code."""
    try:
        return act()
    except AuthorityError as error:
        raise Failed(str(error), code) from error


def _write(path: Path, content: bytes, *, mode: int) -> None:
    try:
        write(path, content, mode=mode)
    except OSError as error:
        raise Failed(f"{error.filename or path}: {error.strerror}", ExitCode.NO_OUTPUT) from error


def _authority(folder: Path) -> Authority:
    return _told(lambda: Authority.load(folder))


def _state(each: Record, revoked: set[str], now: datetime) -> str:
    if each.serial in revoked:
        return "revoked"
    return "good" if each.is_good(now) else "expired"


def _days_left(expires_at: float, now: datetime) -> str:
    return f"{max(0.0, expires_at - now.timestamp()) / DAY_S:.0f}"


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _row(each: Record, revoked: set[str], now: datetime) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.kind,
        "serial": each.serial,
        "signed_by": each.issuer,
        "issued_at": iso(each.issued_at),
        "expires_at": iso(each.expires_at),
        "state": _state(each, revoked, now),
    }


def _authority_row(each: Described) -> dict[str, Any]:
    return {
        "name": each.common_name,
        "expires_at": iso(each.expires_at.timestamp()),
        "fingerprint": each.fingerprint,
    }
