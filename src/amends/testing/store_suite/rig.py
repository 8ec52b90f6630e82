"""What the rules of the suite are played with: stores, workers and sagas made in a line.

Guarantees: everything that a rule opened is closed; ids and operation numbers are fresh.
Must not: know any particular store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from types import TracebackType
from typing import Any, Self

import pytest

from amends.store.base import Fate, Head, Loaded, MailAnswer, NewMail, NewSaga, SagaRow, Store, WorkerInfo, Write

Connect = Callable[[str], Store]
LONG, SHORT = 60.0, 0.02
WAIT_SECONDS = 30.0  # for a condition that must come true; only a broken store waits that long
PLAN = ("fingerprint-1", "order", '{"name":"order"}')
OTHER_PLAN = ("fingerprint-2", "trip", '{"name":"trip"}')


class Saga:
    """A saga as a rule sees it: its ids, and the rows that were made for it."""

    def __init__(self, rig: Rig, key: str, number: int) -> None:
        self.key = key
        self.id: bytes = (rig.began + number).to_bytes(6, "big") + number.to_bytes(10, "big")
        self._rig = rig
        self._seq = 0

    def first(self, *, owner: int | None = None, due: float | None = None, plan: int | None = None) -> Write:
        """The row that begins it."""
        rig = self._rig
        new = NewSaga(self.key, rig.plan if plan is None else plan, b"hash of the input", rig.first_store.now())
        self._seq = 0
        return Write(self.id, 0, next(rig.operations), row_of(self.key, 0), new, Head("running", owner, due))

    def next(self, head: Head | None = None, answers: tuple[MailAnswer, ...] = ()) -> Write:
        """The next row."""
        self._seq += 1
        return self.at(self._seq, head, answers)

    def at(self, seq: int, head: Head | None = None, answers: tuple[MailAnswer, ...] = ()) -> Write:
        """A row at a place, whether or not that is the next."""
        return Write(self.id, seq, next(self._rig.operations), row_of(self.key, seq), None, head, answers)

    def mail(self, message: str, kind: str = "signal", body: bytes = b'{"value":"\xc3\xa4"}') -> NewMail:
        """A mail to it."""
        return NewMail(self.key, message, kind, body)


class Rig:
    """One test's database, and the stores on it."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._open: list[Store] = []
        self._sagas = count(1)
        self.operations: count[int] = count(1001)
        self.plan: int = 0
        self.other_plan: int = 0
        self.began: int = 0  # in milliseconds: internal ids begin with when they were made
        self.first_store: Store

    async def __aenter__(self) -> Self:
        self.first_store = await self.store(work=True)
        self.began = int(self.first_store.now() * 1000)
        self.plan, self.other_plan = await self.first_store.add_plans([PLAN, OTHER_PLAN])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for store in reversed(self._open):
            await store.close()

    async def store(self, namespace: str = "default", *, work: bool = False) -> Store:
        """One more store on the database, open."""
        store = self._connect(namespace)
        await store.open(work=work and (store.leases or not self._open))
        self._open.append(store)
        return store

    async def again(self) -> Store:
        """The working store, closed and opened anew: as after a restart."""
        self._open.remove(self.first_store)
        await self.first_store.close()
        self.first_store = self._connect("default")
        await self.first_store.open(work=True)
        self._open.append(self.first_store)
        return self.first_store

    def needs_leases(self) -> None:
        """Skip what a store without leases cannot have."""
        if not self.first_store.leases:
            pytest.skip("one worker at a time holds this store: there are no leases")

    def info(self, lease: float = LONG, plans: tuple[int, ...] | None = None) -> WorkerInfo:
        """What a worker says of itself."""
        return WorkerInfo("host", 4711, (self.plan, self.other_plan) if plans is None else plans, lease)

    async def worker(
        self, store: Store | None = None, *, lease: float = LONG, plans: tuple[int, ...] | None = None
    ) -> int:
        """A registration."""
        return await (store or self.first_store).register(self.info(lease, plans))

    async def retired(self, by: int, gone: int) -> None:
        """Wait until a worker, whose lease is short, is retired by another."""

        async def is_retired() -> bool:
            await self.first_store.retire_expired(by)
            rows = {row.id: row for row in await self.first_store.workers()}
            return gone not in rows or rows[gone].retired_at is not None

        await eventually(is_retired)

    def saga(self, key: str | None = None) -> Saga:
        """A saga that is not in the store yet. Later ones have later ids."""
        number = next(self._sagas)
        return Saga(self, key or f"saga-{number}", number)

    async def waiting(self, *, due: float | None = None, plan: int | None = None, store: Store | None = None) -> Saga:
        """A saga that nobody owns."""
        saga = self.saga()
        await (store or self.first_store).commit(None, [saga.first(due=due, plan=plan)])
        return saga

    async def owned(self, worker: int, *, plan: int | None = None) -> Saga:
        """A saga that a worker owns."""
        saga = self.saga()
        assert await self.first_store.commit(worker, [saga.first(owner=worker, plan=plan)]) == [Fate.WRITTEN]
        return saga

    async def ended(self, worker: int, status: str = "completed") -> Saga:
        """A saga that has ended."""
        saga = await self.owned(worker)
        await self.first_store.commit(worker, [saga.next(Head(status, None, None))])
        return saga

    async def head(self, saga: Saga) -> SagaRow:
        """Its head, as any process reads it."""
        head = await self.first_store.head(saga.key)
        assert head is not None
        return head

    async def rows(self, saga: Saga) -> tuple[bytes, ...]:
        """Its journal, as any process reads it; empty where it is not there."""
        loaded = await self.first_store.load(saga.key)
        return () if loaded is None else loaded.rows


def row_of(key: str, seq: int) -> bytes:
    """A journal row: JSON, as the shell writes it."""
    return f'[{seq},"{key}","über"]'.encode()


def ids(loaded: list[Loaded]) -> list[bytes]:
    """Of which sagas these are."""
    return [one.head.id for one in loaded]


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; a test fails where it does not come true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():
            await asyncio.sleep(SHORT / 2)


def rule(play: Callable[[Any, Rig], Awaitable[None]]) -> Callable[[Any, Connect], None]:
    """A rule as a test: on a loop of its own, with a rig."""

    def test(self: object, connect: Connect) -> None:
        async def run() -> None:
            async with Rig(connect) as rig:
                await play(self, rig)

        asyncio.run(run())

    test.__name__ = play.__name__
    test.__qualname__ = play.__qualname__
    test.__doc__ = play.__doc__
    test.__module__ = play.__module__
    return test
