"""The `fleetmend` command: a table of subcommands, each imported only when it is run."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from cli import output
from cli.client import Failed
from cli.exit_codes import ExitCode, epilog
from cli.version import told

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("cli.up:up", "Start a whole cell on this machine: broker, controller, an agent for this host..."),
    "setup": ("cli.commands.setup:setup", "Set up this host as an agent's or the controller's, and say what is next."),
    "doctor": ("cli.commands.doctor:doctor", "Say what is missing or unsafe on this host, in sentences..."),
    "status": ("cli.commands.status:status", "Show the cell at a glance."),
    "nodes": ("cli.commands.nodes:nodes", "List every node."),
    "node": ("cli.commands.nodes:node", "Show one node: findings, checks, incidents, timeline."),
    "incidents": ("cli.commands.incidents:incidents", "List incidents, newest first."),
    "incident": ("cli.commands.incidents:incident", "Show one incident: plan, reasons, timeline."),
    "evidence": ("cli.commands.evidence:evidence", "List and get the bundles of evidence that nodes gathered."),
    "cordon": ("cli.commands.acts:cordon", "Take a node out of service until somebody returns it."),
    "uncordon": ("cli.commands.acts:uncordon", "Return a node to service at once and end every plan for it."),
    "pause": ("cli.commands.acts:pause", "Begin nothing disruptive: on a node, in a place, for a check, or anywhere."),
    "resume": ("cli.commands.acts:resume", "End a pause."),
    "approve": ("cli.commands.acts:approve", "Approve a plan or a step, or the return of a node that is mended."),
    "proposal": ("cli.commands.proposal:proposal", "Show what takes two people, agree to it, or take it back."),
    "abort": ("cli.commands.acts:abort", "Stop a plan; a node that is out stays out."),
    "acknowledge": ("cli.commands.acts:acknowledge", "Say that you look after an incident: nobody else is paged..."),
    "bench": ("cli.commands.bench:bench", "Measure idle or cordoned nodes, and show what they reach."),
    "drill": ("cli.commands.drill:drill", "Inject a fault into a node and watch it being mended."),
    "report": (
        "cli.commands.report:report",
        "Show availability, faults, repairs, and GPU-hours and money lost, over a span of time.",
    ),
    "replay": (
        "cli.commands.replay:replay",
        "Decide a recorded log again and hold it to what was decided then, byte for byte, ...",
    ),
    "simulate": (
        "cli.commands.simulate:simulate",
        "Run a virtual fleet with known faults through the real policy, and hold what it did to what was so.",
    ),
    "agent": ("cli.commands.agent:agent", "Record what this host's sources read."),
    "check": ("cli.commands.check:check", "Look at this host once, and answer as a Nagios plug-in does."),
    "checks": (
        "cli.commands.checks:checks",
        "List every check: its source, how often it looks and at what cost, what it can say...",
    ),
    "inventory": ("cli.commands.inventory:inventory", "Capture, compare and approve what this host is made of."),
    "judge": ("cli.commands.judge:judge", "Judge a recording, or the lines of a kernel log."),
    "playbook": ("cli.commands.playbook:playbook", "Check and show playbooks, and how changed ones are tried."),
    "access": ("cli.commands.access:access", "Make and revoke the tokens that say who asks, and ask who one is."),
    "enrol": ("cli.commands.enrol:enrol", "Give this host an identity by a one-time token, and renew it."),
    "controller": ("cli.commands.controller:controller", "Back up, restore and export the controller's event log."),
    "audit": ("cli.commands.audit:audit", "Prove that nobody changed, cut or reordered the event log."),
    "keys": ("cli.commands.keys:keys", "Show and change the key that signs orders to nodes, and the event log."),
    "pki": ("cli.commands.pki:pki", "Keep the certificates by which broker, controllers and nodes know each other."),
    "completion": ("cli.commands.completion:completion", "Print the shell's completion script."),
}
"""Command → where it is, and its one-line help, so that `--help` imports none of them."""


class LazyGroup(click.Group):
    """Knows its commands by name and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        assert ctx.command is self
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported now; `None` when there is none of that name."""
        assert ctx.command is self
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A broken pipe is dealt with here, before click makes a failure of it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _nobody_reads()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from COMMANDS alone."""
        assert ctx.command is self
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        """Return the commands that begin so, from COMMANDS alone."""
        named = [
            click.shell_completion.CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return named + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, epilog=epilog(), context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", metavar="URL", help="The controller's address (FLEETMEND_URL; default http://127.0.0.1:8642).")
@click.option(
    "--token-file", metavar="FILE", help="Holds the token that says who asks (FLEETMEND_TOKEN_FILE; default: none)."
)
@click.option("--ca-file", metavar="FILE", help="CA of the controller's certificate (FLEETMEND_CA_FILE).")
@click.option(
    "--certificate-file", metavar="FILE", help="Own certificate, where it wants one (FLEETMEND_CERTIFICATE_FILE)."
)
@click.option("--key-file", metavar="FILE", help="Private key of the own certificate (FLEETMEND_KEY_FILE).")
@click.version_option(told(), prog_name="fleetmend", message="%(prog)s %(version)s")
def fleetmend(**options: str | None) -> None:
    """Health and fault remediation for GPU fleets: detect, cordon, drain, repair, verify, return."""
    assert options.keys() == {"url", "token_file", "ca_file", "certificate_file", "key_file"}


def main() -> None:
    """Run the command; whatever happens, the user sees a sentence and an exit code."""
    output.ensure()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        code = fleetmend.main(arguments, prog_name="fleetmend", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Failed as failure:
        click.echo(f"fleetmend: {failure}", err=True)
        return failure.code
    except BrokenPipeError:
        return _nobody_reads()
    except Exception as error:
        if isinstance(error, OSError) and output.is_unwritable(error):
            return _unwritable(error)
        return _crashed(error)
    return code if isinstance(code, int) else ExitCode.DONE


def _nobody_reads() -> int:
    """The reader of our output went away, as `| head` does: that is its right. Nothing more is written."""
    output.give_up()
    return ExitCode.DONE


def _unwritable(error: OSError) -> int:
    output.give_up()
    click.echo(f"fleetmend: standard output cannot be written: {error.strerror}", err=True)
    return ExitCode.NO_OUTPUT


def _crashed(error: Exception) -> int:
    if os.environ.get("FLEETMEND_DEBUG"):
        traceback.print_exception(error)
    else:
        click.echo(
            f"fleetmend: this should not have happened: {type(error).__name__}: {error}. "
            "FLEETMEND_DEBUG=1 shows where; please report it.",
            err=True,
        )
    return ExitCode.INTERNAL


if __name__ == "__main__":
    main()
