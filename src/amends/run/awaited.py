"""Who waits, in this process, for a choreographed saga to end: each is told by the holder's word as it comes, and one
look for all of them finds what another process of the service was told.

Guarantees: nobody waits for anybody else's saga, and who waits costs nothing but the common look.
Must not: decide what an outcome is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from amends.errors import NotRunning, StoreError
from amends.run.transactions import Transactions

LOOK_SECONDS = 0.5


class Settled(NamedTuple):
    """How a saga stands at its home: `ended` or `parked`, and its history there."""

    stand: str
    history: str


class Awaited:
    """Of one home."""

    def __init__(self, transactions: Transactions, service: str) -> None:
        self._transactions = transactions
        self._service = service
        self._waiting: dict[str, set[asyncio.Future[Settled]]] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def waiting(self, key: str) -> Iterator[asyncio.Future[Settled]]:
        """Gives what tells how the saga with this id stands, once it has ended or is parked; or why nobody knows."""
        told: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, set()).add(told)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="amends-awaited")
        try:
            yield told
        finally:
            told.cancel()
            others = self._waiting[key]
            others.discard(told)
            if not others:
                del self._waiting[key]

    def hear(self, key: str, settled: Settled) -> None:
        """It has ended, or is parked."""
        for told in self._waiting.get(key, ()):
            if not told.done():
                told.set_result(settled)

    async def close(self) -> None:
        """Look no more; who still waits hears so."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        self._fail(list(self._waiting), NotRunning(f"the participant of {self._service} has left"))

    async def _look(self) -> None:
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                keys = list(self._waiting)
                if not keys:
                    return
                try:
                    asked = json.dumps({"service": self._service, "keys": keys})
                    rows = await self._transactions.ask("home_settled", asked)
                except StoreError as error:
                    self._fail(keys, error)
                    continue
                for key, stand, history in rows:
                    self.hear(key, Settled(stand, history))
        finally:
            self._looking = None

    def _fail(self, keys: list[str], error: Exception) -> None:
        for key in keys:
            for told in self._waiting.get(key, ()):
                if not told.done():
                    told.set_exception(error)
