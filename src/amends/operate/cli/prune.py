"""`amends prune`: forget sagas that ended long ago.

Guarantees: only what has ended; in batches, each a transaction of its own, so it may be interrupted at any point
and begun again.
Must not: have a default for how long ago.
"""

from __future__ import annotations

import asyncio
import re
import sys

import click

from amends.operate import as_json as shapes
from amends.operate.cli.output import console, emit_json, when, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.operations import operations
from amends.operate.values import Pruned
from amends.run.retention import BATCH

BATCH_MAX = 10_000
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def span(_: click.Context, option: click.Parameter, text: str) -> float:
    """The seconds of a span such as `90s` or `30d`. A number without a unit is refused: nobody should take a minute
    for a month."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text)
    if found is None:
        raise click.BadParameter(f"{text!r}: a number and a unit are expected, such as 90s, 15m, 12h, 30d or 8w")
    return float(found[1]) * _UNITS[found[2]]


def optional_span(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """The same, where one may be left out."""
    return None if text is None else span(context, option, text)


@click.command(
    "prune",
    cls=Verb,
    help="Forget sagas that ended longer ago than --older-than: their history, their mail, and their ids. What is open "
    "or parked stays, however old. An id that was pruned is free: a start with it is a new saga with new keys, and "
    "whoever starts it again does it all again. So keep sagas for longer than anybody may repeat a start. What steps "
    "with a transaction left in the database of their effects goes too, but never within 7 days, and their sagas stay "
    "as long; with effects= elsewhere give --app. It works in batches and may be interrupted at any point.",
    examples=[
        "amends prune --older-than 30d --dry-run",
        "amends prune --older-than 30d",
        "amends prune --older-than 12h --limit 100000 --app=shop:orchestrator",
        "amends prune --older-than 8w --json | jq .pruned",
    ],
)
@click.option(
    "--older-than",
    callback=span,
    metavar="SPAN",
    required=True,
    help="Since their end: 90s, 15m, 12h, 30d, 8w.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many. [default: all]")
@click.option(
    "--batch",
    type=click.IntRange(1, BATCH_MAX),
    default=BATCH,
    show_default=True,
    help="How many go in one transaction.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say how many there are, with those whose steps had a transaction in the last 7 days.",
)
@place_options
@json_option
def prune(older_than: float, limit: int | None, batch: int, dry_run: bool, as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    progress = Progress(quiet=as_json)

    async def work() -> tuple[Pruned, float]:
        async with operations(place.existing()) as found:
            before = found.session.store.now() - older_than
            if dry_run:
                count = await found.count_ended(older_than=older_than)
                return Pruned(count if limit is None else min(count, limit), 0), before
            return await found.prune(older_than=older_than, limit=limit, batch=batch, told=progress.told), before

    try:
        pruned, before = asyncio.run(work())
    except KeyboardInterrupt:
        progress.clear()
        click.echo(f"Interrupted: {_sagas(progress.pruned)} pruned; the same command goes on.", err=True)
        raise
    progress.clear()
    if as_json:
        emit_json(shapes.pruned(pruned, before, dry_run=dry_run))
        return
    what = f"{_sagas(pruned.pruned)} {'would be pruned' if dry_run else 'pruned'}, ended before {when(before)} (UTC)"
    console().print(word(what, ""))
    if pruned.kept:
        why = "a step of theirs had a transaction less than 7 days ago"
        console().print(word(f"{_sagas(pruned.kept)} kept for now: {why}", ""))


class Progress:
    """How far it is, on one line of a person's terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self.pruned: int = 0
        self._shown = sys.stderr.isatty() and not quiet

    def told(self, found: Pruned) -> None:
        """One more batch is done."""
        self.pruned = found.pruned
        if self._shown:
            click.echo(f"\r{_sagas(self.pruned)} pruned …", nl=False, err=True)

    def clear(self) -> None:
        """It is over."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def _sagas(count: int) -> str:
    return f"{count:,} saga{'' if count == 1 else 's'}"
