"""The `fleetmend-controller` program."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import tempfile
from pathlib import Path

import click
import structlog

from controller.assembly import assemble
from controller.keys import KeyFileError
from controller.leadership import LeadershipLost
from controller.playbooks import PlaybookErrors
from controller.reloading import Reloading
from controller.service import AlreadyRunning, Controller, lock_state
from controller.settings import ControllerSettings, SettingsError, load, with_file
from controller.store.log import Fenced, StoreError
from controller.topology.source import Unreadable
from wire.logs import configure_logging, set_level
from wire.readiness import stay_until_ready

EX_CONFIG = 78
EX_IOERR = 74
EX_TEMPFAIL = 75

COLLECTED_AFTER = (100_000, 50, 1_000)
"""How many new objects, and how many rounds of the younger kind, come before each round of Python's garbage collector.
What a controller believes is millions of objects that stay; by Python's own 700, 10 and 10 a third of its time went
into looking for cycles among them, in pauses that grow with the fleet. Source: our measurement, docs/explanation."""

log = structlog.get_logger()


@click.command(help="Run the fleetmend controller.")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="TOML configuration file.")
@click.option("--check", is_flag=True, help="Validate the configuration and the playbooks, then exit.")
def main(config: Path, check: bool) -> None:
    """Run until SIGTERM or SIGINT."""
    configure_logging()
    gc.set_threshold(*COLLECTED_AFTER)
    try:
        settings = load(config)
        if check:
            _examine(settings)
            return
        set_level(settings.log_level)
        stay_until_ready()
        lock_state(settings.state)
        controller = assemble(settings)
    except SettingsError as error:
        click.echo(with_file(config, str(error)), err=True)
        sys.exit(EX_CONFIG)
    except (PlaybookErrors, KeyFileError, Unreadable) as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    except (AlreadyRunning, OSError) as error:
        click.echo(f"fleetmend-controller: {error}", err=True)
        sys.exit(EX_TEMPFAIL)
    except StoreError as error:
        click.echo(f"fleetmend-controller: {error}", err=True)
        sys.exit(EX_IOERR)
    gc.freeze()  # what is recalled stays
    sys.exit(asyncio.run(_run(controller, config)))


def _examine(settings: ControllerSettings) -> None:
    """Put a controller together in a folder that is thrown away.

    So a running one is not in the way, and whoever checks as root leaves no file of root's in the state directory.

    Raises:
        SettingsError, PlaybookErrors, KeyFileError, Unreadable, StoreError, OSError: as `assemble` does.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="fleetmend-check-") as scratch:
        assemble(settings.model_copy(update={"state": Path(scratch)}))


async def _run(controller: Controller, config: Path) -> int:
    serving = asyncio.ensure_future(controller.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, Reloading(config, controller).ask)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("controller.stopped")
        return 0
    except OSError as error:
        log.error("controller.failed", because=str(error))
        return EX_TEMPFAIL
    except BaseExceptionGroup as group:
        return _code_of(group)
    return EX_IOERR


def _code_of(group: BaseExceptionGroup[BaseException]) -> int:
    """Return the exit code for what ended the controller, and say it.

    Raises:
        BaseExceptionGroup: something else did, too.
    """
    expected, others = group.split((StoreError, LeadershipLost))
    if expected is None or others is not None:
        raise group
    ends = expected.exceptions
    lost = next((error for error in ends if isinstance(error, LeadershipLost | Fenced)), None)
    if lost is not None:
        log.error("leadership.lost", because=str(lost))
        return EX_TEMPFAIL
    log.error("log.failed", because=str(ends[0]))
    return EX_IOERR


if __name__ == "__main__":
    main()
