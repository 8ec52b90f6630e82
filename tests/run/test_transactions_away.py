"""A database of effects that is away for long is waited for, however long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.errors import StoreUnavailable
from amends.run.barrier import Try
from amends.run.transactions import Transactions

TRIES = 3000  # a pause that grew with each of them would have no number


class Away(Transactions):
    """A database that is away for so many tries."""

    pause_seconds_max = 0.0

    def __init__(self) -> None:
        self.tries = 0

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to let go."""

    async def forget(self, namespace: str, sagas: Sequence[bytes], seconds: float) -> frozenset[bytes]:
        return frozenset()

    async def batch(self, tries: Sequence[Try]) -> list[Message | None]:
        return [None] * len(tries)

    async def ask(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        return []

    @asynccontextmanager
    async def _turn(self, it: Try) -> AsyncIterator[None]:
        yield

    async def _try(self, it: Try) -> Message:
        self.tries += 1
        if self.tries <= TRIES:
            raise StoreUnavailable("it is away")
        return m.Done("book", Phase.ACTION, b"null")


def test_a_database_that_is_away_for_hours_is_waited_for_and_is_no_outcome() -> None:
    live = SimpleNamespace(shell=SimpleNamespace(seals=None))
    attempt = SimpleNamespace(
        call=SimpleNamespace(transaction=None), cancelled=False, task=None, timeout=30.0, live=live, began=0.0
    )
    ctx = SimpleNamespace(namespace="default", internal_id=bytes(16), address="book", saga_id="one", round=1)
    runner = SimpleNamespace(has_around=False)

    message = asyncio.run(Away().run(cast("Any", runner), cast("Any", attempt), cast("Any", ctx)))

    assert message == m.Done("book", Phase.ACTION, b"null")
