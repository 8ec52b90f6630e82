"""`amends outbox`: the events that a service has still to publish, and those that it shall publish again.

Guarantees: `status` changes nothing.
Must not: publish; participants do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import click

from amends.operate import as_json as shapes
from amends.operate.cli.app import AppError, hosted_of
from amends.operate.cli.output import ago, console, emit_json, word
from amends.operate.cli.prune import span
from amends.operate.cli.verb import Verb, json_option
from amends.operate.services import Keeping, keeping_at, keeping_of, republish_since, sizes_of
from amends.run.participant import Participant
from amends.run.watcher import Watcher

F = TypeVar("F", bound=Callable[..., Any])
COUNT_MAX = 100_000


def _options(command: F) -> F:
    """Whose outbox: `--app`, or `--database` with `--service`."""
    command = click.option("--service", metavar="NAME", help="Whose outbox in that database.")(command)
    command = click.option(
        "--database", metavar="URL", help="The service's database, such as postgresql://app@db/inventory."
    )(command)
    text = "The participant in your code; it knows its database. Else AMENDS_APP."
    return click.option("--app", envvar="AMENDS_APP", metavar="MODULE:NAME", help=text)(command)


@click.group("outbox", help="Look after the events that a service publishes.")
def outbox() -> None:
    """Nothing by itself."""


@outbox.command(
    "status",
    cls=Verb,
    help="Show how many events the broker has not confirmed yet and how old the oldest is; and what the inbox holds.",
    examples=[
        "amends outbox status --app=inventory:app",
        "amends outbox status --database=postgresql://app@db/inventory --service=inventory --json",
    ],
)
@_options
@json_option
def status(app: str | None, database: str | None, service: str | None, as_json: bool) -> None:
    keeping = _keeping(app, database, service)
    found = asyncio.run(sizes_of(keeping))
    if as_json:
        emit_json(shapes.outbox(keeping, found))
        return
    out = console()
    out.print(word(f"{keeping.service} at {keeping.where}", ""))
    waits = f", the oldest for {ago(found.lag)}" if found.unpublished else ""
    forgets = f", the first for {ago(found.ended_age)}" if found.ended else ""
    rows = [
        ("unpublished", f"{_count(found.unpublished)} events{waits}"),
        ("inbox", f"{_count(found.inbox)} commands remembered"),
        ("ended", f"{_count(found.ended)} sagas whose commands are to be forgotten{forgets}"),
        ("careful", f"{found.careful} messages that may have taken their process down"),
    ]
    for name, text in rows:
        out.print(word(f"  {name:<11}  {text}", ""))


@outbox.command(
    "republish",
    cls=Verb,
    help="Have the events that were published since then published again, in their order per key, by the participants "
    "that work: after a broker has lost its data, for example. It goes as far back as the outbox keeps what it has "
    "published. They have the ids that they had: subscribers with an inbox have them only once.",
    examples=[
        "amends outbox republish --since 2h --app=inventory:app",
        "amends outbox republish --since 30m --database=postgresql://app@db/inventory --service=inventory",
    ],
)
@click.option("--since", callback=span, metavar="SPAN", required=True, help="How far back: 90s, 15m, 12h, 3d.")
@_options
@json_option
def republish(since: float, app: str | None, database: str | None, service: str | None, as_json: bool) -> None:
    keeping = _keeping(app, database, service)
    count = asyncio.run(republish_since(keeping, since))
    if as_json:
        emit_json(shapes.republished(keeping, count))
        return
    events = "event is" if count == 1 else "events are"
    text = f"{count} {events} published again as soon as a participant of {keeping.service} works"
    console().print(word(f"{keeping.where}: {text if count else 'nothing was published since then'}", ""))


def _keeping(app: str | None, database: str | None, service: str | None) -> Keeping:
    """Whose outbox is meant. What is given wins over the environment. Raises AppError, DefinitionError."""
    if database is not None:
        if service is None:
            raise click.UsageError("--database has the outboxes of several services, perhaps: say --service=NAME too")
        return keeping_at(database, service)
    if app is None:
        raise click.UsageError("name the participant, such as --app=inventory:app, or --database and --service")
    text, value = hosted_of(app)
    if not isinstance(value, Participant):
        does = "watches" if isinstance(value, Watcher) else "runs"
        raise AppError(f"{text!r} {does} sagas, and has no outbox: a participant is expected, such as inventory:app")
    if service not in (None, value.service.name):
        raise click.UsageError(f"{text!r} is the participant of {value.service.name}, not of {service}")
    return keeping_of(value)


def _count(number: int) -> str:
    return f"{number:,}" if number < COUNT_MAX else f"{COUNT_MAX:,} or more"
