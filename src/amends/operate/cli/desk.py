"""Where a verb finds its sagas: an orchestrator's store, a watcher's, or the home of choreographed ones.

Guarantees: the verbs need not know which it is; what is given on the command line wins over the app.
Must not: print.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import click

from amends.operate.cli.app import participant_of
from amends.operate.cli.place import Place
from amends.operate.homes import HomeOperations, home_operations
from amends.operate.operations import Operations, operations
from amends.operate.services import keeping_at

Desk = Operations | HomeOperations


@asynccontextmanager
async def desk(place: Place, answer_seconds: float | None = None) -> AsyncGenerator[Desk, None]:
    """What may be asked of the sagas at a place. Raises AppError, DefinitionError, StoreError."""
    participant = None if place.app is None else participant_of(place.app)
    if participant is None:
        async with operations(place.existing(answer_seconds)) as found:
            yield found
        return
    if place.namespace is not None and any(option.startswith("--namespace=") for option in place.options()):
        raise click.UsageError(
            f"{place.app!r} is a participant, and the sagas that a service has started are in no namespace: leave "
            "--namespace out"
        )
    at = None if place.database is None else keeping_at(place.database, participant.service.name)
    async with home_operations(participant, at=at, answer_seconds=answer_seconds) as found_home:
        yield found_home
