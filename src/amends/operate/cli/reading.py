"""`amends list` and `amends stuck`: sagas in rows.

Guarantees: one short read, then the output; nothing is held open meanwhile.
Must not: act.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.text import Text

from amends.operate import as_json as shapes
from amends.operate.cli.desk import desk
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, emit_json, print_table, when, word
from amends.operate.cli.place import Place, command_line
from amends.operate.cli.prune import optional_span
from amends.operate.cli.safe import safe
from amends.operate.cli.searching import search_of, search_options, words_of
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.operations import LIST_LIMIT
from amends.operate.values import Group, Page, SagaLine, Search, StuckPage, Trouble

LIMIT_MAX = 10_000
TITLES = ("id", "saga", "status", "started (UTC)", "why", "assigned")
_limit_option = click.option(
    "--limit", type=click.IntRange(1, LIMIT_MAX), default=LIST_LIMIT, show_default=True, help="How many at most."
)


@click.command(
    "list",
    cls=Verb,
    help="List sagas, newest first. All options narrow the list together. With no --status, only open sagas are looked "
    "for by --step, --error and --assigned. Where --app names a participant: the choreographed ones that its service "
    "has started, as far as it was told of them.",
    examples=[
        "amends list",
        "amends list --status parked --status compensating",
        "amends list --group                             # what went wrong, and how often",
        "amends list --error 3f2a9c0d11ee --step ship    # all in which the same went wrong",
        "amends list --input sku=tea --newer-than 2h",
        "amends list --saga place-order --limit 20 --before order-42",
        "amends list --app=orders:app --status parked    # choreographed, at their home",
        "amends list --json | jq -r '.sagas[].id'",
    ],
)
@search_options
@click.option("--group", is_flag=True, help="Show what went wrong with them, each kind once, instead of each saga.")
@click.option("--before", metavar="ID", help="Only older ones than this saga: the next page.")
@_limit_option
@place_options
@json_option
def list_(group: bool, before: str | None, limit: int, as_json: bool, **given: Any) -> None:
    options = words_of(given)
    wanted = search_of(given)
    place = Place(**given)
    if group:
        if before is not None:
            raise click.UsageError("--group shows all groups at once: leave --before out")
        _show_groups(asyncio.run(_groups(place, wanted, limit)), place, as_json=as_json)
        return
    page = asyncio.run(_page(place, wanted, before, limit))
    if as_json:
        emit_json(shapes.page(page))
        return
    out = console()
    assigned = any(line.assigned for line in page.sagas)
    rows = [_row(line, assigned=assigned) for line in page.sagas]
    if rows:
        print_table(out, TITLES[: len(rows[0])], rows)
    else:
        out.print(word("None so far of those that were looked at." if page.more else "No sagas here that fit.", "dim"))
    if page.more:
        limited = [f"--limit={limit}"] if limit != LIST_LIMIT else []
        options = [*options, *limited, *place.options(), f"--before={page.next}"]
        command = safe(command_line("list", options=options, positional=[]))
        click.echo(f"There {'are' if len(rows) == limit else 'may be'} more: {command}", err=True)


async def _page(place: Place, wanted: Search, before: str | None, limit: int) -> Page:
    async with desk(place) as found:
        return await found.search(wanted, before=before, limit=limit)


async def _groups(place: Place, wanted: Search, limit: int) -> tuple[Group, ...]:
    async with desk(place) as found:
        return await found.groups(wanted, limit=limit)


def _show_groups(groups: Sequence[Group], place: Place, *, as_json: bool) -> None:
    if as_json:
        emit_json(shapes.groups(groups))
        return
    out = console()
    if not groups:
        out.print(word("Nothing went wrong with any that fits.", "good"))
        return
    rows = [
        (str(group.count), group.fingerprint, group.saga, group.step, when(group.last_at), group.reason)
        for group in groups
    ]
    print_table(out, ("sagas", "error", "saga", "step", "last (UTC)", "such as"), rows)
    options = [f"--error={groups[0].fingerprint}", *place.options()]
    click.echo(f"All of the first: {safe(command_line('list', options=options, positional=[]))}", err=True)
    act = command_line("bulk", "start", "unpark", options=options, positional=[])
    click.echo(f"One act on all of them: {safe(act)}", err=True)


def _row(line: SagaLine, *, assigned: bool) -> tuple[Text | str, ...]:
    """A line of the list. assigned: with who sees to it."""
    told = (line.id, line.saga, word(line.status), when(line.started_at), _why(line))
    return (*told, line.assigned) if assigned else told


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
            page = await found.stuck(limit=LIMIT_MAX, troubles=kinds)
            return page.unchanged_since(time.time() - longer_than, limit)

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
