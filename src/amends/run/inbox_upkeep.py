"""The inbox kept in bounds: which sagas have ended, and what may be forgotten.

Guarantees: nothing of a saga goes before it has ended and the horizon has passed since, and since anything came
of it; each pass is bounded, and what fails is tried again by the next.
Must not: be in the way of commands.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import NamedTuple

from amends.decide.wire import Ended
from amends.errors import StoreError
from amends.run.transactions import Transactions

CLEAN_SECONDS = 60.0  # between two passes
BATCH = 1000
BATCHES_MAX = 100  # of one pass
_log = logging.getLogger("amends.inbox")


class Sizes(NamedTuple):
    """What an inbox and an outbox hold. Counts stop at 100,000; ages are in seconds.

    inbox: commands that are remembered. ended: sagas whose commands are to be forgotten; ended_age: of the one that
    has waited longest for that. unpublished: events that the broker has not confirmed; lag: the age of the oldest.
    careful: what may have taken its process down.
    """

    inbox: int
    ended: int
    ended_age: float
    unpublished: int
    lag: float
    careful: int


class Upkeep:
    """Of one participant."""

    def __init__(
        self, transactions: Transactions, service: str, horizon_seconds: float, events_kept_seconds: float
    ) -> None:
        self._transactions = transactions
        self._service = service
        self._horizon = horizon_seconds
        self._kept = events_kept_seconds
        self.failed: str = ""  # why the last pass came to nothing

    async def ended(self, notice: Ended) -> None:
        """Sagas have ended. Raises StoreError."""
        await self._transactions.ask("ended", notice.namespace, json.dumps([saga.hex() for saga in notice.sagas]))

    async def run(self) -> None:
        """Clean up now and then, until cancelled."""
        while True:
            await asyncio.sleep(CLEAN_SECONDS)
            try:
                await self.clean()
            except StoreError as error:
                self.failed = str(error)
                _log.warning("the inbox is not cleaned up: %s", error)
            except Exception as error:  # noqa: BLE001  # next time, perhaps
                self.failed = f"{type(error).__name__}: {error}"
                _log.exception("the inbox is not cleaned up: this is a bug in amends")
            else:
                self.failed = ""

    async def clean(self) -> int:
        """Forget what may be forgotten; gives how many rows that were. Raises StoreError."""
        rows = await self._all("clean_inbox", self._horizon)
        rows += await self._all("clean_events", self._horizon)
        rows += await self._all("clean_deaths", self._horizon)
        rows += await self._all("clean_homes", self._kept, self._service)
        return rows + await self._all("clean_outbox", self._kept, self._service)

    async def _all(self, name: str, seconds: float, *more: object) -> int:
        """Batch by batch, as many as one pass may."""
        total = 0
        for _ in range(BATCHES_MAX):
            seen, gone = (await self._transactions.ask(name, seconds, BATCH, *more))[0]
            total += int(gone)
            if int(seen) < BATCH:
                break
        return total

    async def sizes(self) -> Sizes:
        """How much there is. Raises StoreError."""
        row = (await self._transactions.ask("figures", self._service))[0]
        return Sizes(int(row[0]), int(row[1]), float(row[2]), int(row[3]), float(row[4]), int(row[5]))
