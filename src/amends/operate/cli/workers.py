"""`amends workers`: who runs sagas, until when they have said so, and what they own.

Guarantees: one short read, then the output; nothing is held open meanwhile.
Must not: judge whether that is enough; `amends doctor` does.
"""

from __future__ import annotations

import asyncio

import click

from amends.operate import as_json as shapes
from amends.operate.cli.desk import desk
from amends.operate.cli.output import console, emit_json, print_table, when, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.values import WorkerLine


@click.command(
    "workers",
    cls=Verb,
    help="List the workers that are alive, and those that are gone and still own sagas: another one takes these over. "
    "`until` is when a lease ends if it is not renewed; with SQLite the one worker holds the file, and leases say "
    "nothing.",
    examples=[
        "amends workers",
        "amends workers --database=postgresql://app@db/orders --json | jq '.workers[].owned'",
    ],
)
@place_options
@json_option
def workers(as_json: bool, **given: str | None) -> None:
    place = Place(**given)

    async def read() -> tuple[WorkerLine, ...]:
        async with desk(place) as found:
            return await found.workers()

    lines = asyncio.run(read())
    if as_json:
        emit_json(shapes.workers(lines))
        return
    out = console()
    if not lines:
        out.print(word("No worker is registered: nothing moves until `amends worker` runs.", "dim"))
        return
    rows = [
        (
            str(line.id),
            word("alive", "good") if line.alive else word("gone", "bad"),
            f"{line.host}:{line.pid}",
            when(line.started_at),
            when(line.expires_at),
            str(line.owned),
            ", ".join(line.sagas),
        )
        for line in lines
    ]
    print_table(out, ("worker", "", "process", "since (UTC)", "until (UTC)", "owns", "runs"), rows)
