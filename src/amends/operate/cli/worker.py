"""`amends worker`: run sagas, and do what services are asked for, until told to stop.

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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from amends.observe.hub import Observer
from amends.operate.cli.app import AppError, hosted_of
from amends.operate.cli.exits import Exit
from amends.operate.cli.hosting import Hosting, Sagas, Service, Watching
from amends.operate.cli.loops import run_on_loop
from amends.operate.cli.place import Place
from amends.operate.cli.probes import Probes
from amends.operate.cli.telemetry import Watched, set_up_logs, watched_options
from amends.operate.cli.verb import Verb, place_options
from amends.operate.reach import Asked, Asker, out_of_reach
from amends.run.orchestrator import Orchestrator
from amends.run.participant import Participant
from amends.run.watcher import Watcher

_log = logging.getLogger("amends.worker")
LEVELS = ("debug", "info", "warning", "error")


@click.command(
    "worker",
    cls=Verb,
    help="Run the sagas of an orchestrator, do what the service of a participant is asked for, or keep what a watcher "
    "hears of choreographed sagas, until SIGTERM or ^C: "
    "what is in flight is finished first. A second signal ends it at once; what was in flight is then taken over by "
    "the next worker. Several named together run in one process, and without a broker they talk to each other within "
    "it. A module with only one such object may be named alone. It logs to stderr. One SQLite file has one worker: a "
    f"second one ends with {int(Exit.WORKER_RUNNING)}.",
    examples=[
        "amends worker shop:orchestrator",
        "amends worker inventory:app",
        "amends worker shop:watcher",
        "amends worker shop:orchestrator inventory:app payment:app",
        "amends worker --app=shop:orchestrator --log-level=warning",
        "amends worker shop:orchestrator --alive-file=/run/shop/alive --ready-file=/run/shop/ready",
        "amends worker shop:orchestrator --metrics=9464 --log-json",
    ],
)
@click.argument("targets", metavar="[MODULE[:NAME]]...", nargs=-1)
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
    help="The same, but only while it is registered, the database answers and the broker is there; removed when it is "
    "asked to stop. Of several, only while all of them are.",
)
@watched_options
@place_options
def worker(
    targets: tuple[str, ...],
    log_level: str,
    alive_file: Path | None,
    ready_file: Path | None,
    **given: Any,
) -> None:
    watched = Watched(given.pop("metrics"), log_json=given.pop("log_json"), trace=given.pop("trace"))
    place = Place(**given)
    named = targets or ((place.app,) if place.app else ())
    if not named:
        raise click.UsageError("name what is to run, such as shop:orchestrator, or set AMENDS_APP")
    set_up_logs(log_level, as_json=watched.log_json)
    services, sagas, watchers = _parts(named, place, watched.observers)
    _warn(services, sagas)
    probes = Probes(alive_file, ready_file, os.environ.get("NOTIFY_SOCKET"))
    try:
        probes.prepare()
    except OSError as error:
        raise click.UsageError(f"a file for probes cannot be written: {error}") from error
    run_on_loop(_work(Hosting(services, sagas, probes, watchers), probes, watched))


def _parts(
    named: Sequence[str], place: Place, observers: tuple[Observer, ...]
) -> tuple[list[Service], list[Sagas], list[Watching]]:
    """The participants, orchestrators and watchers that are named, checked as far as can be without opening
    anything."""
    found = [hosted_of(text) for text in named]
    if len({id(value) for _, value in found}) < len(found):
        raise click.UsageError(f"{' '.join(named)}: one of these is named twice")
    services = [Service(text, value) for text, value in found if isinstance(value, Participant)]
    orchestrators = [(text, value) for text, value in found if isinstance(value, Orchestrator)]
    if place.database is not None and len(orchestrators) != 1:
        raise click.UsageError(
            "--database is the sagas' of one orchestrator; here it would mean another's, or nobody's"
        )
    for _, value in found:
        if isinstance(value, Participant):
            value.check()
    for text, value in orchestrators:
        if not value.config.registry.names:
            raise AppError(f"{text!r} knows no saga, so there is nothing to run")
    watchers = [Watching(text, value) for text, value in found if isinstance(value, Watcher)]
    configs = [(text, place._replace(app=text).config()) for text, _ in orchestrators]
    for service in services:
        service.participant.observed_by(*observers)
    sagas = [Sagas(text, replace(config, observers=config.observers + observers)) for text, config in configs]
    return services, sagas, watchers


def _warn(services: Sequence[Service], sagas: Sequence[Sagas]) -> None:
    """Say what is asked here and answered nowhere. It is no error: the others may be named with the next deploy."""
    askers = [Asker(one.name, one.config) for one in sagas]
    for text in out_of_reach(askers, [Asked(one.name, one.participant) for one in services]):
        _log.warning("%s", text)


async def _work(hosting: Hosting, probes: Probes, watched: Watched) -> None:
    stop = Stop(asyncio.get_running_loop())
    await watched.open()
    try:
        await hosting.open()
    except BaseException:
        await watched.close()
        raise
    failed = hosting.failed
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([*failed, stop.asked], return_when=asyncio.FIRST_COMPLETED)
    finally:
        async with probes.leaving():
            await hosting.close()
        await watched.close()
        stop.forget()
    for failure in failed:
        if failure.done():
            failure.result()


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
