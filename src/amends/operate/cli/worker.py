"""`amends worker`: run sagas until told to stop.

Guarantees: on SIGTERM or SIGINT what is in flight is finished and the rest let go; a second
signal ends the process at once, and the next worker takes over; a store that cannot be worked
with any more ends it with an error.
Must not: restart by itself. Whoever runs it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import click

from amends.operate.cli.app import AppError
from amends.operate.cli.exits import Exit
from amends.operate.cli.loops import run_on_loop
from amends.operate.cli.place import Place
from amends.operate.cli.probes import Probes
from amends.operate.cli.safe import safe
from amends.operate.cli.verb import Verb, place_options
from amends.operate.database import url_of
from amends.run.session import Config, Session

_log = logging.getLogger("amends.worker")
LEVELS = ("debug", "info", "warning", "error")


@click.command(
    "worker",
    cls=Verb,
    help="Run the sagas of an orchestrator until SIGTERM or ^C: what is in flight is finished first. A second signal "
    "ends it at once; what was in flight is then taken over by the next worker. It logs to stderr. One SQLite file has "
    f"one worker: a second one ends with {int(Exit.WORKER_RUNNING)}.",
    examples=[
        "amends worker shop:orchestrator",
        "amends worker --app=shop:orchestrator --log-level=warning",
        "amends worker shop:orchestrator --alive-file=/run/shop/alive --ready-file=/run/shop/ready",
    ],
)
@click.argument("target", metavar="[MODULE:NAME]", required=False)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    envvar="AMENDS_LOG_LEVEL",
    help="Of what it logs.",
)
@click.option(
    "--alive-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Touched after each look at the database, also where that is away; at least every 20 seconds in a sound "
    "worker. For a liveness probe.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The same, but only while it is registered and the database answers; removed when it is asked to stop.",
)
@place_options
def worker(
    target: str | None, log_level: str, alive_file: Path | None, ready_file: Path | None, **given: str | None
) -> None:
    place = Place(**given)
    named = target or place.app
    if named is None:
        raise click.UsageError("name the orchestrator, such as shop:orchestrator, or set AMENDS_APP")
    place = place._replace(app=named)
    _set_up_logs(log_level)
    config = place.config()
    if not config.registry.names:
        raise AppError(f"{named!r} knows no saga, so there is nothing to run")
    probes = Probes(alive_file, ready_file, os.environ.get("NOTIFY_SOCKET"))
    try:
        probes.prepare()
    except OSError as error:
        raise click.UsageError(f"a file for probes cannot be written: {error}") from error
    run_on_loop(_work(config, probes))


class SafeFormatter(logging.Formatter):
    """Log lines for a terminal: what came from outside cannot play with it."""

    def format(self, record: logging.LogRecord) -> str:
        return safe(super().format(record), lines=True)


def _set_up_logs(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level.upper())


async def _work(config: Config, probes: Probes) -> None:
    stop = Stop(asyncio.get_running_loop())
    session = Session(config)
    await session.open(work=True)
    running = session.worker
    if running is None:
        raise RuntimeError("a session that works has a worker")
    names = ", ".join(config.registry.names)
    _log.info("worker %d (process %d) runs %s on %s", running.worker, os.getpid(), names, url_of(config.database))
    running.looked = probes.looked
    running.ownership.wake()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([running.failed, stop.asked], return_when=asyncio.FIRST_COMPLETED)
    finally:
        number = running.worker
        async with probes.leaving():
            await session.close()
        _log.info("worker %d has stopped", number)
        stop.forget()
    if running.failed.done():
        running.failed.result()


class Stop:
    """The signals that end a worker: the first asks, the second does not."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard, number)

    def forget(self) -> None:
        """Leave the signals alone again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)

    def _heard(self, number: int) -> None:
        name = signal.Signals(number).name
        if self.asked.done():
            _log.warning("%s again: the worker stops at once; what is in flight is left to the next one", name)
            logging.shutdown()
            os._exit(128 + number)
        _log.info("%s: the worker finishes what is in flight; a second signal stops it at once", name)
        self.asked.set_result(None)
