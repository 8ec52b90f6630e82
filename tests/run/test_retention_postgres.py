"""On PostgreSQL an action that was frozen is told that it comes too late by the server's own clock."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from engine import Order

from amends import Compensated, Completed, Orchestrator, Retry, Saga, step
from amends.decide.events import Phase
from amends.run import attempt, live
from amends.run.transactions import ATTEMPT_SECONDS_MAX


def booking() -> Saga[Order, None]:
    """A step that books in a transaction."""

    @step(retry=Retry(attempts=1))
    async def book(order: Order, tx: asyncpg.Connection) -> None:
        await tx.execute("INSERT INTO public.booked VALUES ('somebody')")

    @book.compensation
    async def unbook(tx: asyncpg.Connection) -> None:
        await tx.execute("DELETE FROM public.booked")

    return Saga("booking", book, input=Order)


@pytest.mark.parametrize(("age", "booked"), [(ATTEMPT_SECONDS_MAX - 3600, 1), (ATTEMPT_SECONDS_MAX + 1, 0)])
def test_an_attempt_that_was_begun_too_long_ago_by_the_servers_clock_takes_no_effect(
    age: float, booked: int, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Thawed(attempt.Attempt):
        """An action whose process stood still behind the look at its lease."""

        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            late = name == "began" and self.phase is Phase.ACTION
            super().__setattr__(name, value - age if late else value)

    monkeypatch.setattr(live, "Attempt", Thawed)

    async def main() -> tuple[Any, int]:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute("CREATE TABLE public.booked (who text)")
        saga = booking()
        async with Orchestrator(postgres_url, sagas=[saga], migrate=True) as orchestrator:
            outcome = await orchestrator.run(saga, Order(), id="one")
        count = await connection.fetchval("SELECT count(*) FROM public.booked")
        await connection.close()
        return outcome, count

    outcome, count = asyncio.run(main())

    assert count == booked
    assert isinstance(outcome, Completed if booked else Compensated)
