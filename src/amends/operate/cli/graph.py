"""`amends graph`: a saga's flow, drawn; or, of services together, who reacts to what.

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
from amends.operate.cli.desk import desk
from amends.operate.cli.exits import Exit
from amends.operate.cli.flow import strokes_of, texts
from amends.operate.cli.graph_events import graph_events, is_events
from amends.operate.cli.output import console, emit_json, heading, print_table
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.drawing import draw
from amends.operate.mermaid import mermaid

SAGA_AND_TARGET = 2


@click.command(
    "graph",
    cls=Verb,
    help="Draw a saga's flow. With --mermaid as a Mermaid chart, with --bindings also how each parameter is filled, "
    "with --id as it stands for one saga in the database. Of participants, named together or by their module: who "
    "reacts to which event; and with --check what is wrong with it, which ends with "
    f"{int(Exit.TROUBLE)} if something is.",
    examples=[
        "amends graph shop:place_order",
        "amends graph shop:orchestrator place-order --mermaid",
        "amends graph shop:place_order --bindings",
        "amends graph --id=order-42 --database=sqlite:///orders.db",
        "amends graph orders:app inventory:app --mermaid",
        "amends graph shop --check",
    ],
)
@click.argument("targets", metavar="[MODULE:NAME [SAGA]]", nargs=-1)
@click.option("--id", "saga_id", metavar="ID", help="A saga in the database.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a Mermaid chart.")
@click.option("--bindings", is_flag=True, help="Show how each parameter is filled.")
@click.option("--check", is_flag=True, help="Say what is wrong with who reacts to what.")
@place_options
@json_option
def graph(
    targets: tuple[str, ...],
    saga_id: str | None,
    as_mermaid: bool,
    bindings: bool,
    check: bool,
    as_json: bool,
    **given: str | None,
) -> int:
    place = Place(**given)
    if saga_id is not None:
        plan, state = asyncio.run(_stored(place, saga_id))
        _print(plan, state, as_mermaid=as_mermaid, as_json=as_json)
        return Exit.OK
    if not targets and place.app is not None:
        targets = (place.app,)
    if not targets:
        raise click.UsageError("name what to draw: a saga such as shop:place_order, or --id of one in the database")
    if check or is_events(targets):
        return graph_events(targets, check=check, as_mermaid=as_mermaid, as_json=as_json)
    if len(targets) > SAGA_AND_TARGET:
        raise click.UsageError(f"one saga is drawn at a time; {' '.join(targets)!r} are more")
    for number, found in enumerate(_sagas(targets[0], targets[1] if len(targets) > 1 else None)):
        if number and not as_json:
            click.echo()
        _print(found.plan, None, as_mermaid=as_mermaid, as_json=as_json)
        if bindings and not as_json:
            _print_bindings(found.program)
    return Exit.OK


async def _stored(place: Place, saga_id: str) -> tuple[Plan, State]:
    async with desk(place) as found:
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
