"""`amends list` and `amends stuck`: sagas in rows.

Guarantees: one short read, then the output; nothing is held open meanwhile.
Must not: act.
"""

from __future__ import annotations

import asyncio
import time

import click

from amends.operate import as_json as shapes
from amends.operate.cli.desk import desk
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, emit_json, print_table, when, word
from amends.operate.cli.place import Place, command_line
from amends.operate.cli.prune import optional_span
from amends.operate.cli.safe import safe
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.operations import LIST_LIMIT
from amends.operate.values import Page, SagaLine, StuckPage, Trouble

STATUSES = ("running", "compensating", "parked", "completed", "compensated")
LIMIT_MAX = 10_000
_limit_option = click.option(
    "--limit", type=click.IntRange(1, LIMIT_MAX), default=LIST_LIMIT, show_default=True, help="How many at most."
)


@click.command(
    "list",
    cls=Verb,
    help="List sagas, newest first. Where --app names a participant: the choreographed ones that its service has "
    "started, as far as it was told of them.",
    examples=[
        "amends list",
        "amends list --status parked --status compensating",
        "amends list --saga place-order --limit 20 --before order-42",
        "amends list --app=orders:app --status parked   # choreographed, at their home",
        "amends list --json | jq -r '.sagas[].id'",
    ],
)
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only these; may be repeated.")
@click.option("--saga", "sagas", multiple=True, metavar="NAME", help="Only of this definition; may be repeated.")
@click.option("--stuck", "only_stuck", is_flag=True, help="Only those parked, stalled, or with a stuck step.")
@click.option("--before", metavar="ID", help="Only older ones than this saga: the next page.")
@_limit_option
@place_options
@json_option
def list_(
    statuses: tuple[str, ...],
    sagas: tuple[str, ...],
    only_stuck: bool,
    before: str | None,
    limit: int,
    as_json: bool,
    **given: str | None,
) -> None:
    place = Place(**given)

    async def read() -> Page:
        async with desk(place) as found:
            return await found.find(statuses=statuses, sagas=sagas, stuck=only_stuck, before=before, limit=limit)

    page = asyncio.run(read())
    if as_json:
        emit_json(shapes.page(page))
        return
    out = console()
    if not page.sagas:
        out.print(word("No sagas here that fit.", "dim"))
        return
    rows = [(line.id, line.saga, word(line.status), when(line.started_at), _why(line)) for line in page.sagas]
    titles: tuple[str, ...] = ("id", "saga", "status", "started (UTC)", "why")
    if any(line.assigned for line in page.sagas):
        titles = (*titles, "assigned")
        rows = [(*row, line.assigned) for row, line in zip(rows, page.sagas, strict=True)]
    print_table(out, titles, rows)
    if page.more:
        options = [*_filters(statuses, sagas, only_stuck, limit), *place.options(), f"--before={page.sagas[-1].id}"]
        click.echo(f"There are more: {safe(command_line('list', options=options, positional=[]))}", err=True)


def _old(page: StuckPage, seconds: float, limit: int) -> StuckPage:
    """Those of a page that have not changed for so long."""
    lines = [line for line in page.lines if time.time() - line.saga.changed_at >= seconds]
    return StuckPage(tuple(lines[:limit]), page.more or len(lines) > limit)


def _filters(statuses: tuple[str, ...], sagas: tuple[str, ...], stuck: bool, limit: int) -> list[str]:
    found = [f"--status={status}" for status in statuses] + [f"--saga={saga}" for saga in sagas]
    return found + (["--stuck"] if stuck else []) + ([f"--limit={limit}"] if limit != LIST_LIMIT else [])


def _why(line: SagaLine) -> str:
    if line.stalled:
        return f"stalled: {line.stalled}"
    if line.silent:
        return f"silent: {line.silent}"
    if line.stranded and line.status != "parked":
        return f"stranded: {line.stranded}"
    return line.reason or line.stuck


@click.command(
    "stuck",
    cls=Verb,
    help="List the sagas that wait for somebody, and why: parked; with a stuck step; stalled, since no worker has a "
    "fitting definition; stranded, since no live worker runs them or takes them in time; waiting for a signal; "
    "silent, since a service did not react to a choreographed one; slow, since nothing has happened for much longer "
    "than its steps may take, though a worker has it.",
    examples=[
        "amends stuck",
        "amends stuck --trouble waiting --longer-than 2d",
        "amends stuck --exit-code --trouble parked --trouble stalled   # for a monitor: 10 if there is any",
        "amends stuck --json | jq -r '.sagas[] | .id + \": \" + .why'",
    ],
)
@click.option(
    "--trouble", "troubles", multiple=True, type=click.Choice([str(kind) for kind in Trouble]), help="Only these kinds."
)
@click.option("--longer-than", callback=optional_span, metavar="SPAN", help="Only what is so for longer: 90s, 15m, 2d.")
@click.option("--exit-code", is_flag=True, help=f"End with {int(Exit.TROUBLE)} if there is anything.")
@_limit_option
@place_options
@json_option
def stuck(
    troubles: tuple[str, ...],
    longer_than: float | None,
    exit_code: bool,
    limit: int,
    as_json: bool,
    **given: str | None,
) -> int:
    place = Place(**given)
    kinds = [Trouble(word) for word in troubles]

    async def read() -> StuckPage:
        async with desk(place) as found:
            if longer_than is None:
                return await found.stuck(limit=limit, troubles=kinds)
            return _old(await found.stuck(limit=LIMIT_MAX, troubles=kinds), longer_than, limit)

    page = asyncio.run(read())
    if as_json:
        emit_json(shapes.stuck(page))
    else:
        out = console()
        rows = [
            (line.saga.id, line.saga.saga, word(str(line.trouble)), when(line.saga.changed_at), line.why)
            for line in page.lines
        ]
        if rows:
            print_table(out, ("id", "saga", "trouble", "since (UTC)", "why"), rows)
        else:
            out.print(word("Nothing waits for anybody.", "good"))
        if page.more:
            click.echo("There is more than is shown; --limit shows more.", err=True)
    return Exit.TROUBLE if exit_code and page.lines else Exit.OK
