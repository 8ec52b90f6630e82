"""A far side that is down, sagas that park before it, and operations on them: what the tests of bulk operations share.

Guarantees: everything is made anew for each test.
Must not: start anything by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from amends import Context, Orchestrator, Park, Saga, Settings, step
from amends.crypto import Keys
from amends.operate.operations import Operations


@dataclass(frozen=True)
class Job:
    size: int = 1


class Scene:
    """The far side, and a book of what it was asked to do."""

    def __init__(self) -> None:
        self.down = True
        self.calls: list[str] = []

        @step
        async def work(job: Job, ctx: Context) -> int:
            if self.down:
                raise Park("the far side is down")
            self.calls.append(ctx.saga_id)
            return job.size

        @work.compensation
        async def undo_work() -> None: ...

        self.jobs: Saga[Job, int] = Saga("jobs", work, input=Job, output=work)

    def orchestrator(self, database: str = "memory://", *, keys: Keys | None = None, **settings: Any) -> Orchestrator:
        """One on a database, that has the sagas of the scene."""
        limits = Settings(**{"poll_seconds": 0.05, **settings})
        return Orchestrator(database, sagas=[self.jobs], settings=limits, migrate=True, keys=keys)

    @asynccontextmanager
    async def parked(
        self, count: int, database: str = "memory://", **settings: Any
    ) -> AsyncGenerator[tuple[Orchestrator, Operations], None]:
        """A worker, with so many sagas that are parked; then the far side is up again."""
        orchestrator = self.orchestrator(database, **settings)
        async with orchestrator:
            for number in range(count):
                await orchestrator.run(self.jobs, Job(number), id=f"job-{number}")
            self.down = False
            yield orchestrator, Operations(orchestrator.session)

    async def parks_again(self, orchestrator: Orchestrator, name: str) -> None:
        """Somebody has tried one saga while the far side was down: it is parked as before, and yet has moved on."""
        self.down = True
        await Operations(orchestrator.session).unpark(name, actor="bob")
        await orchestrator.handle(self.jobs, name).outcome()
        self.down = False
