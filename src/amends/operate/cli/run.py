"""`amends run`: start a saga, watch it, and wait for its end.

Guarantees: where no worker holds the database this process works itself, else it is a client; a
worker that cannot run the saga is told of, and not waited for.
Must not: cancel a saga because nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import click

from amends.errors import NotAnswered, WorkerRunning
from amends.operate import as_json as shapes
from amends.operate.cli.app import AppError
from amends.operate.cli.exits import exit_of_status
from amends.operate.cli.launch import Launch, launch_of
from amends.operate.cli.loops import run_on_loop
from amends.operate.cli.output import console, emit_json
from amends.operate.cli.place import Place, command_line
from amends.operate.cli.safe import safe
from amends.operate.cli.show import print_next
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.cli.watching import Deserted, outcome_text, shower, watch
from amends.operate.operations import Operations
from amends.operate.sight import Sight
from amends.operate.values import SagaView
from amends.run.session import Session

WORKER_APPEARS_SECONDS = 5.0
LOOK_SECONDS = 0.1


@click.command(
    "run",
    cls=Verb,
    help="Start a saga, show how it advances, and end with its outcome. The target is a saga, whose module's only "
    "orchestrator that lists it is used, or an orchestrator with a saga's name. A saga that no orchestrator lists runs "
    "in memory, unless --database is given. The input is JSON; '-' reads it from stdin. Where a worker holds the "
    "database it runs the saga; else this process does, and takes up whatever else is due there. Services that stand "
    "beside the saga in the module do their commands here too, then, where there is no broker.",
    examples=[
        """amends run shop:place_order '{"sku": "tea", "quantity": 2}'""",
        """amends run shop:orchestrator place-order '{"sku": "tea"}' --id=order-42""",
        "amends run shop:place_order - < order.json",
    ],
)
@click.argument("words", metavar="[MODULE:NAME] [SAGA] JSON", nargs=-1)
@click.option("--id", "saga_id", metavar="ID", help="The saga's id; the same id with the same input is the same saga.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop waiting after this long; the saga goes on if a worker has it. [default: without end]",
)
@place_options
@json_option
def run(words: tuple[str, ...], saga_id: str | None, timeout: float | None, as_json: bool, **given: str | None) -> int:
    place = Place(**given)
    launch = launch_of("run", words, place, memory=True)
    view = run_on_loop(_run(launch, saga_id, timeout, quiet=as_json))
    if as_json:
        emit_json(shapes.outcome(view))
        return exit_of_status(view.line.status)
    out = console()
    out.print(outcome_text(view))
    if view.line.status == "parked" and not launch.passing:
        print_next(out, view, _place_of(launch, place, words), launch.saga.program)
    if launch.passing and view.line.status != "completed":
        click.echo("It was kept in memory only and is gone now; --database=sqlite:///… keeps it.", err=True)
    return exit_of_status(view.line.status)


async def _run(launch: Launch, saga_id: str | None, timeout: float | None, *, quiet: bool) -> SagaView:
    """Start it and watch it. Where the worker goes away meanwhile, the next turn works itself."""
    key = ""
    try:
        async with asyncio.timeout(timeout):
            with shower(quiet=quiet) as show:
                while True:
                    session = await _open(launch)
                    try:
                        async with _services(launch, session):
                            key = key or await session.start(launch.saga, launch.input, saga_id)
                            return await watch(Operations(session), launch.saga, key, show)
                    except Deserted:
                        continue
                    finally:
                        await session.close()
    except TimeoutError:
        raise NotAnswered(f"{key or launch.saga.name} has not ended within {timeout:g} s; {_fate(key)}") from None
    except asyncio.CancelledError:
        if key:
            click.echo(safe(f"\n{key}: {_fate(key)}", lines=True), err=True)
        raise


async def _open(launch: Launch) -> Session:
    """Work, or be a client of whoever does. Raises WorkerRunning where that worker does not know
    the saga, and so would never run it."""
    session = Session(launch.config)
    if session.store.leases and not launch.passing:  # any number may work there: not one more without need
        await session.open(work=False)
        if launch.saga.name in await _known(Sight(session)):
            return session
        await session.close()
        session = Session(launch.config)
    until = asyncio.get_running_loop().time() + WORKER_APPEARS_SECONDS
    while True:
        try:
            await session.open(work=True)
            return session
        except WorkerRunning as error:
            held = str(error)
        session = Session(launch.config)
        await session.open(work=False)
        try:
            if await _is_run(session, launch.saga.name, held, until):
                return session
        except BaseException:
            await session.close()
            raise
        await session.close()  # who held it may be gone
        await asyncio.sleep(LOOK_SECONDS)
        session = Session(launch.config)


@asynccontextmanager
async def _services(launch: Launch, session: Session) -> AsyncGenerator[None, None]:
    """The services that stand beside the saga in the code, at work where this process is; a client needs none. Raises
    AppError for a service that nobody could reach."""
    async with AsyncExitStack() as stack:
        if session.worker is not None:
            if launch.missing:
                raise AppError(
                    f"{launch.saga.name!r} asks {', '.join(launch.missing)}, and without a broker only this process is "
                    "reached: have `amends worker` run the orchestrator and the participants together, or give broker="
                )
            for participant in launch.services:
                await stack.enter_async_context(participant)
        yield


async def _is_run(session: Session, name: str, held: str, until: float) -> bool:
    """Whether a live worker runs a saga. One that has just begun is not registered yet, and one that leaves is not any
    more. Raises WorkerRunning where that is so at the end, and where only others are run."""
    known = await _known(Sight(session))
    if name in known:
        return True
    if asyncio.get_running_loop().time() > until:
        runs = ", ".join(sorted(known)) or "nothing"
        raise WorkerRunning(
            f"the worker that holds this database does not run {name!r} (it runs: {runs}), and no second one may. "
            f"Stop it, or give it that saga. {held}"
        )
    return False


async def _known(sight: Sight) -> set[str]:
    """The sagas that live workers run."""
    return {sight.name_of(plan) for worker in (await sight.crew()).live for plan in worker.plans}


def _fate(key: str) -> str:
    if not key:
        return "it may not have been started"
    return f"it goes on where a worker runs: {command_line('show', options=[], positional=[key])}"


def _place_of(launch: Launch, place: Place, words: tuple[str, ...]) -> Place:
    """The place that the next commands name."""
    if place.database is not None or place.app is not None:
        return place
    return place._replace(app=words[0])
