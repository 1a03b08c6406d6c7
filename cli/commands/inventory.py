"""`fleetmend inventory`: what this host is made of, captured by the agent's own sources, compared and approved."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from agent.onlooker import take_stock
from agent.settings import Watch
from checks.differences import Difference, Kind, differences
from checks.manifest import Manifest
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.inventory_file import print_differences, put_in_force, read_file, render, unwritable
from cli.printing import counted, plain, print_json
from cli.watching import config_option, load_watch, needs_machine
from controller import durable

DEFAULT_LIMIT_S = 120.0
"""The slowest sources, a BMC and the tools of accelerators, are given 100 s and more."""

timeout_option = click.option(
    "--timeout",
    "limit_s",
    metavar="S",
    type=click.FloatRange(min=1),
    default=DEFAULT_LIMIT_S,
    show_default=True,
    help="What gave no answer by then is unread.",
)


@click.group()
def inventory() -> None:
    """Capture, compare and approve what this host is made of.

    Needs no controller and no broker, and works beside a running agent.
    """


@inventory.command()
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Standard output without it.")
@timeout_option
@config_option
@click.pass_context
@needs_machine
def capture(ctx: click.Context, output: Path | None, limit_s: float, config: Path | None) -> None:
    """Write down what this host is made of, as TOML that can be read and edited.

    Puts nothing in force. What could not be read is said on standard error and in the file, and the exit code is 3.
    """
    manifest = _captured(load_watch(config), limit_s)
    text = render(manifest)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    ctx.exit(ExitCode.UNREAD if manifest.unread else ExitCode.DONE)


@inventory.command()
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Compare with this manifest; with the approved one without it.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@timeout_option
@config_option
@click.pass_context
@needs_machine
def diff(ctx: click.Context, against: Path | None, as_json: bool, limit_s: float, config: Path | None) -> None:
    """Compare this host with what was approved for it.

    Exit codes: 0 no difference, 1 differences, 3 none was seen, and something that was approved could not be read.
    """
    watch = load_watch(config)
    approved = read_file(against)[1] if against is not None else _in_force(watch)
    found = differences(approved, asyncio.run(take_stock(watch, limit_s=limit_s)))
    if as_json:
        print_json([_as_json(each) for each in found])
    elif found:
        print_differences(found)
    else:
        click.echo("no difference")
    ctx.exit(_code_of(found))


@inventory.command()
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@timeout_option
@config_option
@click.pass_context
@needs_machine
def approve(ctx: click.Context, file: Path | None, yes: bool, limit_s: float, config: Path | None) -> None:
    """Hold this host to a manifest: that in FILE, or what the host is made of now.

    Shows what differs from the manifest in force, and asks. A running agent takes the new one up by itself.
    """
    watch = load_watch(config)
    content, manifest = _of_this_host(watch, file) if file is not None else _fresh(watch, limit_s)
    if not yes:
        _print_changes(watch, manifest)
        if not _is_confirmed(watch.node):
            click.echo("not approved", err=True)
            ctx.exit(ExitCode.NO)
    put_in_force(watch.approved_inventory, content)
    click.echo(f"approved: {plain(watch.approved_inventory)} ({_summary(manifest)})")


def _is_confirmed(node: str) -> bool:
    """Return what the person says; an input that has ended, as a job of cron has it, is nobody's yes."""
    try:
        return click.confirm(f"Approve this for {node}?")
    except click.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        click.echo()
        return False


def _captured(watch: Watch, limit_s: float) -> Manifest:
    """Return what the host is made of, and say on standard error what could not be read."""
    manifest = asyncio.run(take_stock(watch, limit_s=limit_s))
    for name, why in manifest.unread.items():
        click.echo(plain(f"not read: {name}: {why}"), err=True)
    return manifest


def _of_this_host(watch: Watch, file: Path) -> tuple[bytes, Manifest]:
    """Return what is in the file. Held to another host's parts, this one would miss every one of them."""
    content, manifest = read_file(file)
    if manifest.node not in ("", watch.node):
        because = f"{file}: node: captured on {plain(manifest.node)}, and this is {watch.node}"
        raise Failed(
            f"{because}: capture here, or leave `node` out of a list that is meant for both", ExitCode.BAD_DATA
        )
    return content, manifest


def _fresh(watch: Watch, limit_s: float) -> tuple[bytes, Manifest]:
    manifest = _captured(watch, limit_s)
    return render(manifest).encode(), manifest


def _in_force(watch: Watch) -> Manifest:
    if not watch.approved_inventory.exists():
        because = f"nothing is approved for this host: there is no {watch.approved_inventory}"
        raise Failed(f"{because} (fleetmend inventory approve)", ExitCode.NO_INPUT)
    return read_file(watch.approved_inventory)[1]


def _print_changes(watch: Watch, manifest: Manifest) -> None:
    """Say what another manifest in force would mean; one that is damaged keeps nobody from replacing it."""
    try:
        changes = differences(_in_force(watch), manifest)
    except Failed as failure:
        click.echo(f"{failure}\nto be approved: {_summary(manifest)}")
        return
    if changes:
        print_differences(changes)
    else:
        click.echo("no difference from what is approved")


def _summary(manifest: Manifest) -> str:
    counts = {
        "GPU": len(manifest.gpus),
        "other accelerator": len(manifest.accelerators),
        "RDMA port": len(manifest.ports),
        "disk": len(manifest.disks),
        "file system": len(manifest.mounts),
    }
    said = ", ".join(counted(count, name) for name, count in counts.items() if count) or "no parts"
    return f"{said}; not read: {', '.join(map(plain, manifest.unread))}" if manifest.unread else said


def _as_json(difference: Difference) -> Any:
    return msgspec.to_builtins(difference)


def _code_of(found: Sequence[Difference]) -> ExitCode:
    if any(each.kind is not Kind.UNREAD for each in found):
        return ExitCode.NO
    return ExitCode.UNREAD if found else ExitCode.DONE


def _write(output: Path, text: str) -> None:
    """Write the file; one that is there already stays whole until the new one is."""
    target = output.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_text(text)
        else:
            durable.replace(target, text.encode())
    except OSError as error:
        raise unwritable(output, error) from error
