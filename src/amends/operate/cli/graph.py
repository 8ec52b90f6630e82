"""`amends graph`: a saga's flow, drawn.

Guarantees: draws what is in the code, or, with --id, what is in the database, statuses and all.
Must not: run anything.
"""

from __future__ import annotations

import asyncio
import json

import click
from rich.text import Text

from amends.decide.plan import Plan
from amends.decide.state import State
from amends.define.program import Program
from amends.define.saga import Saga
from amends.operate.cli.app import AppError, choose, load
from amends.operate.cli.flow import strokes_of, texts
from amends.operate.cli.output import console, emit_json, heading, print_table
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.drawing import draw
from amends.operate.mermaid import mermaid
from amends.operate.operations import operations


@click.command(
    "graph",
    cls=Verb,
    help="Draw a saga's flow. With --mermaid as a Mermaid chart, with --bindings also how each parameter is filled, "
    "with --id as it stands for one saga in the database.",
    examples=[
        "amends graph shop:place_order",
        "amends graph shop:orchestrator place-order --mermaid",
        "amends graph shop:place_order --bindings",
        "amends graph --id=order-42 --database=sqlite:///orders.db",
    ],
)
@click.argument("target", metavar="[MODULE:NAME]", required=False)
@click.argument("saga", metavar="[SAGA]", required=False)
@click.option("--id", "saga_id", metavar="ID", help="A saga in the database.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a Mermaid chart.")
@click.option("--bindings", is_flag=True, help="Show how each parameter is filled.")
@place_options
@json_option
def graph(
    target: str | None,
    saga: str | None,
    saga_id: str | None,
    as_mermaid: bool,
    bindings: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    place = Place(**given)
    if saga_id is not None:
        plan, state = asyncio.run(_stored(place, saga_id))
        _print(plan, state, as_mermaid=as_mermaid, as_json=as_json)
        return
    if target is None:
        target = place.app
    if target is None:
        raise click.UsageError("name what to draw: a saga such as shop:place_order, or --id of one in the database")
    for number, found in enumerate(_sagas(target, saga)):
        if number and not as_json:
            click.echo()
        _print(found.plan, None, as_mermaid=as_mermaid, as_json=as_json)
        if bindings and not as_json:
            _print_bindings(found.program)


async def _stored(place: Place, saga_id: str) -> tuple[Plan, State]:
    async with operations(place.existing()) as found:
        return await found.flow(saga_id)


def _sagas(target: str, name: str | None) -> list[Saga[object, object]]:
    """The saga that is meant; of an orchestrator with no saga named, all."""
    found = load(target).value
    if isinstance(found, Saga) or name is not None:
        return [choose(target, name).saga]
    sagas = list(found.config.registry)
    if not sagas:
        raise AppError(f"{target!r} knows no saga")
    return sagas


def _print(plan: Plan, state: State | None, *, as_mermaid: bool, as_json: bool) -> None:
    if as_json:
        emit_json({**json.loads(plan.json), "fingerprint": plan.fingerprint})
    elif as_mermaid:
        click.echo(mermaid(plan, state), nl=False)
    else:
        out = console()
        for line in texts(draw(plan, state, strokes_of(out)), strokes_of(out)):
            out.print(line)


def _print_bindings(program: Program) -> None:
    out = console()
    rows: list[tuple[Text | str, ...]] = []
    for where, call in program.calls():
        sources = {argument.name: argument.label for argument in call.arguments}
        sources |= dict.fromkeys(call.defaulted, "its default")
        rows += [(where, name, source) for name, source in sources.items()]
    out.print()
    out.print(heading("How the parameters are filled"))
    print_table(out, ("function", "parameter", "filled by"), rows)
