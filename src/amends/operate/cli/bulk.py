"""`amends bulk`: one act on all sagas that fit, tracked: begun, watched, paused, resumed, cancelled.

Guarantees: without --yes nothing is done: what would be done is told. What was begun goes on when this process ends.
Must not: judge which saga may be acted on; each one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import click

from amends.decide.bulk import PER_SECOND, PER_SECOND_MAX, PER_SECOND_MIN, VERBS, Result, Stand
from amends.errors import IdConflict
from amends.operate import as_json_bulk as shapes
from amends.operate.bulk import Bulk, BulkAct, BulkOperations, BulkResults, Targets
from amends.operate.cli.bulk_shown import (
    Progress,
    next_commands,
    print_bulk,
    print_plan,
    print_results,
    progress,
    sagas,
    what,
)
from amends.operate.cli.desk import desk
from amends.operate.cli.exits import Exit
from amends.operate.cli.inputs import payload_of
from amends.operate.cli.output import console, emit_json, print_table, when, word
from amends.operate.cli.place import Place, command_line
from amends.operate.cli.safe import safe
from amends.operate.cli.searching import as_begun, is_narrow, search_of, search_options
from amends.operate.cli.verb import F, Verb, actor_option, json_option, place_options
from amends.operate.values import Search

LIMIT_MAX = 10_000
REFUSED_SHOWN = 5
_NO = tuple(str(result) for result in Result if result is not Result.ACCEPTED)
_ID = click.argument("bulk_id", metavar="BULK")


@click.group("bulk", help="Do one act on all sagas that fit, as something that is tracked.")
def bulk() -> None:
    """Nothing by itself."""


@asynccontextmanager
async def _bulks(place: Place) -> AsyncGenerator[BulkOperations, None]:
    async with desk(place) as found:
        if not isinstance(found, BulkOperations):
            raise click.UsageError(
                f"{place.app!r} is a participant, and choreographed sagas are acted on one by one at their home; bulk "
                "operations are for those of an orchestrator"
            )
        yield found


def _do(place: Place, act: Callable[[BulkOperations], Awaitable[Any]]) -> Any:
    async def work() -> Any:
        async with _bulks(place) as found:
            return await act(found)

    return asyncio.run(work())


def _steering(command: F) -> F:
    """What pause, resume and cancel take."""
    command = click.option(
        "--if-version", type=click.IntRange(1), metavar="N", help="Only if it is still at this version, as shown."
    )(command)
    command = click.option("--reason", default="", help="Why, for its log.")(command)
    return _ID(actor_option(place_options(json_option(command))))


@bulk.command(
    "start",
    cls=Verb,
    help="Do VERB to all open sagas that fit: retry, skip, resolve, compensate, cancel, unpark, signal, assign or "
    "note; the first three to one STEP, the same in each, and signal to the wait of that name. Without --yes "
    "nothing is done: it tells how many there are, what would come of it and what would be refused. With it the "
    "sagas are written down as they are now, and asked one after the other; one that has moved on meanwhile is "
    "left alone. This process asks, and shows how far it is; where it ends, or with --detach, a worker goes on.",
    examples=[
        "amends bulk start unpark --saga place-order --status parked",
        "amends bulk start retry charge_card --saga place-order --reason 'the bank is back' --yes --expect 400",
        """amends bulk start resolve ship --status parked --result '{"code": "S-1"}' --reason 'see 812' --yes""",
        "amends bulk start cancel --saga trip --reason 'the airline is gone' --per-second 5 --yes --detach",
        """amends bulk start signal approval --value '{"granted": true}' --trouble waiting --saga trip --yes""",
        "amends bulk start assign --status parked --person ada --yes",
        "amends bulk start unpark --id order-1 --id order-2 --yes",
    ],
)
@click.argument("verb", type=click.Choice(list(VERBS)))
@click.argument("step", required=False, default="")
@search_options
@click.option("--id", "ids", multiple=True, metavar="ID", help="This saga, instead of a search; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="All that are open; without it something has to narrow them.")
@click.option("--reason", default="", help="Why, for the history of every saga.")
@click.option("--result", metavar="JSON", help="For resolve: what the step would have returned; '-' reads stdin.")
@click.option(
    "--with", "arguments", metavar="JSON", help="For retry: what the step is asked from here on; '-' reads stdin."
)
@click.option("--nothing-stayed", is_flag=True, help="With --with: no earlier attempt had its effect.")
@click.option("--value", metavar="JSON", help="For signal: what is sent; '-' reads stdin.")
@click.option("--person", default="", help="For assign: who sees to them; nobody where it is left out.")
@click.option("--text", default="", help="For note: what it says.")
@click.option(
    "--per-second",
    type=click.FloatRange(PER_SECOND_MIN, PER_SECOND_MAX),
    default=PER_SECOND,
    show_default=True,
    help="How many sagas are asked in a second, about.",
)
@click.option("--even-if-changed", is_flag=True, help="Also where a saga has moved on since it was written down.")
@click.option("--expect", type=click.IntRange(1), metavar="N", help="Only if exactly so many fit.")
@click.option("--bulk-id", metavar="BULK", help="Its id; begun twice under the same one, it is begun once.")
@click.option("--paused", is_flag=True, help="Write down which are meant, and wait for `bulk resume`.")
@click.option("--detach", is_flag=True, help="Leave the asking to the workers.")
@click.option("--yes", is_flag=True, help="Do it.")
@actor_option
@place_options
@json_option
def start(
    verb: str,
    step: str,
    *,
    ids: tuple[str, ...],
    yes: bool,
    expect: int | None,
    bulk_id: str | None,
    paused: bool,
    detach: bool,
    as_json: bool,
    **given: Any,
) -> int:
    place = Place(*(given.pop(name) for name in ("database", "app", "namespace")))
    act = _act(verb, step, given)
    targets = _targets(ids, given.pop("everything"), given)
    if not yes:
        plan = _do(place, lambda found: found.bulk_plan(act, targets))
        if as_json:
            emit_json(shapes.bulk_plan(plan))
            return Exit.OK
        print_plan(console(), plan)
        if plan.total:
            click.echo(f"To do it, add: --yes --expect={plan.total}", err=True)
        return Exit.OK

    async def begin(found: BulkOperations) -> Bulk:
        try:
            begun = await found.bulk_start(act, targets, paused=paused, expected=expect, id=bulk_id)
        except IdConflict:
            meant = await _as_begun(found, bulk_id or "", targets)
            begun = await found.bulk_start(act, meant, paused=paused, expected=expect, id=bulk_id)
        return begun if detach or paused else await _followed(found, begun.id, as_json)

    return _told(_do(place, begin), place, as_json, begun=detach or paused)


def _act(verb: str, step: str, given: dict[str, Any]) -> BulkAct:
    result, arguments, value = given.pop("result"), given.pop("arguments"), given.pop("value")
    person, text = given.pop("person"), given.pop("text")
    if (person and verb != "assign") or (text and verb != "note"):
        raise click.UsageError("--person is for assign, and --text for note")
    if (value is not None and verb != "signal") or (result is not None and verb == "signal"):
        raise click.UsageError("--value is for signal, and --result for resolve")
    named = f"the result of {step}" if value is None else f"the value of the signal {step}"
    result = result if value is None else value
    return BulkAct(
        verb,
        given.pop("actor"),
        given.pop("reason"),
        step,
        None if result is None else payload_of(result, named),
        None if arguments is None else payload_of(arguments, f"the arguments of {step}"),
        given.pop("nothing_stayed"),
        person or text,
        given.pop("per_second"),
        given.pop("even_if_changed"),
    )


def _targets(ids: tuple[str, ...], everything: bool, filters: dict[str, Any]) -> Targets:
    search = search_of(filters)
    if ids and (is_narrow(search) or everything):
        raise click.UsageError("give --id, or what to look for, not both")
    if not ids and not is_narrow(search) and not everything:
        raise click.UsageError("say which sagas are meant: --status, --saga, --step, …; or --all, if it is all of them")
    return ids or search


async def _as_begun(found: BulkOperations, bulk_id: str, targets: Targets) -> Targets:
    """What was meant when the same command was given first: its spans count from then."""
    there = await found.bulk(bulk_id)
    if not isinstance(targets, Search) or there.search is None:
        return targets
    return as_begun(targets, there.search, there.created_at)


async def _followed(found: BulkOperations, bulk_id: str, as_json: bool) -> Bulk:
    shown = Progress(quiet=as_json)
    try:
        return await found.bulk_run(bulk_id, told=shown.told)
    except asyncio.CancelledError:  # from the keyboard
        shown.clear()
        click.echo("Interrupted: a worker goes on with it. `amends bulk pause` has it rest.", err=True)
        raise
    finally:
        shown.clear()


def _told(found: Bulk, place: Place, as_json: bool, *, begun: bool = False) -> int:
    if as_json:
        emit_json(shapes.bulk(found))
    else:
        out = console()
        out.print(word(f"{found.id}: {what(found)}, for {sagas(found.total)}", ""))
        whole = found.state == Stand.DONE and found.done == found.total
        out.print(word(progress(found), "good" if whole else "person"))
        more = bool(found.refused or found.failed)
        for command in next_commands(found, place.options(), more=more):
            click.echo(f"  {safe(command)}", err=True)
    if begun or (found.state == Stand.DONE and found.done == found.total):
        return Exit.OK
    return Exit.TROUBLE


@bulk.command(
    "run",
    cls=Verb,
    help="Work at a bulk operation in this process until it is not running any more, and show how far it is. As long "
    "as somebody else works at it, only look.",
    examples=["amends bulk run spring-repair", "amends bulk run spring-repair --json | jq .refused"],
)
@_ID
@place_options
@json_option
def run(bulk_id: str, as_json: bool, **given: str | None) -> int:
    place = Place(**given)
    return _told(_do(place, lambda found: _followed(found, bulk_id, as_json)), place, as_json)


@bulk.command(
    "list",
    cls=Verb,
    help="List bulk operations, newest first.",
    examples=["amends bulk list", "amends bulk list --limit 5 --before spring-repair"],
)
@click.option("--before", metavar="BULK", help="Only older ones than this: the next page.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=50, show_default=True, help="How many at most.")
@place_options
@json_option
def list_(before: str | None, limit: int, as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    page = _do(place, lambda found: found.bulks(before=before, limit=limit))
    if as_json:
        emit_json(shapes.bulk_page(page))
        return
    if not page.bulks:
        console().print(word("No bulk operations here. `amends bulk start --help` shows how one begins.", "dim"))
        return
    rows = [(one.id, what(one), progress(one), one.actor, when(one.created_at)) for one in page.bulks]
    print_table(console(), ("id", "what", "how far", "by", "begun (UTC)"), rows)
    if page.more:
        options = [*place.options(), f"--before={page.bulks[-1].id}", f"--limit={limit}"]
        click.echo(f"There are more: {safe(command_line('bulk', 'list', options=options, positional=[]))}", err=True)


@bulk.command(
    "show",
    cls=Verb,
    help="Show one bulk operation: how far it is, who did what to it, and what was refused.",
    examples=["amends bulk show spring-repair", "amends bulk show spring-repair --json | jq .left"],
)
@_ID
@place_options
@json_option
def show(bulk_id: str, as_json: bool, **given: str | None) -> None:
    place = Place(**given)

    async def read(found: BulkOperations) -> tuple[Bulk, Any, BulkResults]:
        refused = await found.bulk_results(bulk_id, limit=REFUSED_SHOWN, words=_NO)
        return await found.bulk(bulk_id), await found.bulk_log(bulk_id), refused

    one, log, refused = _do(place, read)
    if as_json:
        emit_json({**shapes.bulk(one), "log": shapes.bulk_log(log)})
        return
    print_bulk(console(), one, log, refused, place.options())


@bulk.command(
    "results",
    cls=Verb,
    help="List what became of each saga of a bulk operation, in the order in which they are asked.",
    examples=[
        "amends bulk results spring-repair",
        "amends bulk results spring-repair --result refused --result changed",
        "amends bulk results spring-repair --after 1000 --limit 1000 --json",
    ],
)
@_ID
@click.option(
    "--result",
    "words",
    multiple=True,
    type=click.Choice([*map(str, Result), "to come"]),
    help="Only these; may be repeated.",
)
@click.option("--after", type=click.IntRange(0), default=0, help="Only those behind this number: the next page.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=100, show_default=True, help="How many at most.")
@place_options
@json_option
def results(bulk_id: str, words: tuple[str, ...], after: int, limit: int, as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    wanted = tuple("" if name == "to come" else name for name in words)
    found = _do(place, lambda desk: desk.bulk_results(bulk_id, after=after, limit=limit, words=wanted))
    if as_json:
        emit_json(shapes.bulk_results(found))
        return
    print_results(console(), found)
    if found.more:
        options = [*(f"--result={name}" for name in words), *place.options(), f"--limit={limit}"]
        command = command_line(
            "bulk", "results", options=[*options, f"--after={found.lines[-1].n}"], positional=[bulk_id]
        )
        click.echo(f"There are more: {safe(command)}", err=True)


def _steer(name: str, bulk_id: str, as_json: bool, given: dict[str, Any]) -> None:
    said = {key: given.pop(key) for key in ("actor", "reason", "if_version")}
    place = Place(**given)
    found = _do(place, lambda desk: getattr(desk, f"bulk_{name}")(bulk_id, **said))
    _told(found, place, as_json)


@bulk.command(
    "pause",
    cls=Verb,
    help="Have a bulk operation ask no further saga for now. Those that were asked just before still answer.",
    examples=["amends bulk pause spring-repair --reason 'the bank is slow'"],
)
@_steering
def pause(bulk_id: str, as_json: bool, **given: Any) -> None:
    _steer("pause", bulk_id, as_json, given)


@bulk.command(
    "resume",
    cls=Verb,
    help="Have a bulk operation go on. A worker does, or `amends bulk run`.",
    examples=["amends bulk resume spring-repair"],
)
@_steering
def resume(bulk_id: str, as_json: bool, **given: Any) -> None:
    _steer("resume", bulk_id, as_json, given)


@bulk.command(
    "cancel",
    cls=Verb,
    help="Have a bulk operation ask no further saga, ever. What was done is done. (To cancel sagas: `amends bulk start "
    "cancel`.)",
    examples=["amends bulk cancel spring-repair --reason 'the wrong step' --if-version 2"],
)
@_steering
def cancel(bulk_id: str, as_json: bool, **given: Any) -> None:
    _steer("cancel", bulk_id, as_json, given)
