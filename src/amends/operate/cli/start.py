"""`amends start`: start a saga for a worker to run.

Guarantees: the id is printed once the saga is on disk.
Must not: run any step.
"""

from __future__ import annotations

import asyncio

import click

from amends.errors import NotAnswered
from amends.operate import as_json as shapes
from amends.operate.cli.exits import exit_of_status
from amends.operate.cli.launch import Launch, launch_of
from amends.operate.cli.output import console, emit_json
from amends.operate.cli.place import Place, command_line
from amends.operate.cli.safe import safe
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.cli.watching import Deserted, outcome_text, wait_at_rest, watch
from amends.operate.operations import Operations
from amends.operate.values import SagaView
from amends.run.session import Session


@click.command(
    "start",
    cls=Verb,
    help="Start a saga and print its id. It is on disk then, and a worker runs it, now or when one comes. The target "
    "and the input are as in `amends run`.",
    examples=[
        """amends start shop:place_order '{"sku": "tea", "quantity": 2}' --id=order-42""",
        """amends start --app=shop:orchestrator place-order - < order.json""",
        """amends start shop:place_order '{"sku": "tea"}' --wait --timeout=60""",
    ],
)
@click.argument("words", metavar="[MODULE:NAME] [SAGA] JSON", nargs=-1)
@click.option("--id", "saga_id", metavar="ID", help="The saga's id; the same id with the same input is the same saga.")
@click.option("--wait", is_flag=True, help="Wait until it ends or is parked, and end as `amends run` does.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --wait: stop waiting after this long; the saga goes on. [default: without end]",
)
@place_options
@json_option
def start(
    words: tuple[str, ...],
    saga_id: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **given: str | None,
) -> int:
    launch = launch_of("start", words, Place(**given), memory=False)
    key, view = asyncio.run(_start(launch, saga_id, wait, timeout))
    if view is None:
        if as_json:
            emit_json({"id": key, "saga": launch.saga.name})
        else:
            click.echo(safe(key))
        return 0
    if as_json:
        emit_json(shapes.outcome(view))
    else:
        console().print(outcome_text(view))
    return exit_of_status(view.line.status)


async def _start(launch: Launch, saga_id: str | None, wait: bool, timeout: float | None) -> tuple[str, SagaView | None]:
    session = Session(launch.config)
    await session.open(work=False)
    try:
        key = await session.start(launch.saga, launch.input, saga_id)
        return key, await _wait(session, launch, key, timeout) if wait else None
    finally:
        await session.close()


async def _wait(session: Session, launch: Launch, key: str, timeout: float | None) -> SagaView:
    try:
        async with asyncio.timeout(timeout):
            try:
                return await watch(Operations(session), launch.saga, key, lambda view: None)
            except Deserted:
                click.echo("No worker is alive: the saga waits until `amends worker` runs.", err=True)
            return await wait_at_rest(Operations(session), launch.saga, key)
    except TimeoutError:
        again = command_line("show", options=[], positional=[key])
        raise NotAnswered(
            f"{key} has not ended within {timeout:g} s; it goes on where a worker runs: {again}"
        ) from None
