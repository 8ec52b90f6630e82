"""Faults of a simulated process: death, pauses, a store that is away, answers that are lost.

A simulated process reaches the outside only through a `Gate`: before and after every call it
may die (the call never returns), pause, or be delayed. What a dead process still computes
reaches nobody.

Guarantees: all chance comes from the seed.
Must not: know what passes through it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from amends.errors import StoreUnavailable
from amends.store.base import (
    Ended,
    Fate,
    Filter,
    Health,
    Joined,
    JoinedAsync,
    Loaded,
    MailRow,
    NewMail,
    Peek,
    PlanRow,
    SagaRow,
    Store,
    TokenKey,
    WorkerInfo,
    WorkerRow,
    Write,
)
from amends.store.bulk import Bulks
from amends.store.finding import Finder

T = TypeVar("T")


@dataclass
class Rates:
    """How often, per passage of a gate. All zero is a perfect world."""

    death: float = 0.0
    pause: float = 0.0
    away: float = 0.0  # the store refuses, nothing is written
    answer_lost: float = 0.0  # the store has written, and its answer is lost
    hint_lost: float = 0.0
    slow: float = 0.0
    latency_seconds: float = 0.02
    pause_seconds: float = 40.0

    def heal(self) -> None:
        """No faults from here on."""
        self.death = self.pause = self.away = self.answer_lost = self.hint_lost = self.slow = 0.0


class Gate:
    """The border of one simulated process."""

    def __init__(self, chance: Random, rates: Rates, name: str, counts: Counter[str]) -> None:
        self.name = name
        self.dead: bool = False
        self.counts = counts  # of what befell anybody, for the whole run
        self._chance = chance
        self._rates = rates
        self._paused_until = 0.0
        self._died = asyncio.get_running_loop().create_future()

    def kill(self) -> None:
        """Die: nothing passes any more."""
        self.dead = True
        if not self._died.done():
            self.counts["deaths"] += 1
            self._died.set_result(None)

    async def death(self) -> None:
        """Wait for the process to die."""
        await asyncio.shield(self._died)

    async def call(self, what: str, fn: Callable[[], Awaitable[T]], *, store: bool = False) -> T:
        """Let a call pass, with whatever befalls it."""
        await self._cross(f"before {what}")
        if store and self._happens(self._rates.away):
            self.counts["store away"] += 1
            raise StoreUnavailable("simulated: the store is away")
        result = await fn()
        if store and self._happens(self._rates.answer_lost):
            self.counts["answers lost"] += 1
            raise StoreUnavailable("simulated: the answer is lost")
        await self._cross(f"after {what}")
        return result

    async def _cross(self, where: str) -> None:
        loop = asyncio.get_running_loop()
        if not self.dead and self._happens(self._rates.death):
            self.counts[f"deaths {where.split()[0]}"] += 1
            self.kill()
        if self.dead:
            await loop.create_future()  # never
        if self._happens(self._rates.pause):
            self.counts["pauses"] += 1
            self._paused_until = loop.time() + self._chance.uniform(0.0, self._rates.pause_seconds)
        slow = 20.0 if self._happens(self._rates.slow) else 1.0
        await asyncio.sleep(self._chance.random() * self._rates.latency_seconds * slow)
        while self._paused_until > loop.time():
            await asyncio.sleep(self._paused_until - loop.time())
        if self.dead:
            await loop.create_future()

    def _happens(self, rate: float) -> bool:
        return rate > 0.0 and self._chance.random() < rate

    def loses_hint(self) -> bool:
        """Whether a hint is lost on its way."""
        if self.dead:
            return True  # not counted: what is left of a dead process ends whenever it is collected
        lost = self._happens(self._rates.hint_lost)
        self.counts["hints lost"] += lost
        return lost


class FaultyStore:
    """A store behind a gate."""

    def __init__(self, store: Store, gate: Gate) -> None:
        self._store = store
        self._gate = gate
        self.leases: bool = store.leases
        self.bulks: Bulks = store.bulks  # beside the gate: what comes of them is mail
        self.finder: Finder = store.finder  # it only reads

    def now(self) -> float:
        return self._store.now()

    def _pass(self, what: str, fn: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        return self._gate.call(f"store.{what}", fn, store=True)

    async def open(self, *, work: bool) -> None:
        await self._store.open(work=work)

    async def close(self) -> None:
        await self._store.close()

    async def schema(self) -> tuple[int, int, int]:
        return await self._store.schema()

    async def upgrade(self) -> list[int]:
        return await self._store.upgrade()

    async def add_plans(self, plans: Sequence[tuple[str, str, str]]) -> list[int]:
        return await self._store.add_plans(plans)

    async def plans(self) -> list[PlanRow]:
        return await self._pass("plans", self._store.plans)

    async def token_keys(self) -> list[TokenKey]:
        return await self._store.token_keys()

    async def add_token_key(self, name: str, secret: bytes, after: int) -> None:
        await self._store.add_token_key(name, secret, after)

    async def register(self, info: WorkerInfo) -> int:
        return await self._pass("register", lambda: self._store.register(info))

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        return await self._pass("renew", lambda: self._store.renew(worker, info))

    async def deregister(self, worker: int, *, survived: bool) -> None:
        await self._pass("deregister", lambda: self._store.deregister(worker, survived=survived))

    async def retire_expired(self, worker: int) -> list[int]:
        return await self._pass("retire_expired", lambda: self._store.retire_expired(worker))

    async def workers(self) -> list[WorkerRow]:
        return await self._pass("workers", self._store.workers)

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return await self._pass("commit", lambda: self._store.commit(worker, writes))

    async def commit_aside(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return await self._pass("commit", lambda: self._store.commit_aside(worker, writes))

    async def peek(self) -> Peek:
        return await self._pass("peek", self._store.peek)

    async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
        return await self._read(await self._pass("claim", lambda: self._store.claim(worker, plans, limit)))

    async def adopt(self, worker: int, gone: int, limit: int) -> list[Loaded]:
        return await self._read(await self._pass("adopt", lambda: self._store.adopt(worker, gone, limit)))

    async def _read(self, owned: list[Loaded]) -> list[Loaded]:
        """With the rows that are there some time after they were owned, as a server reads them in a statement of its
        own."""
        if not owned:
            return owned

        async def read() -> list[Loaded]:
            found = [(one, await self._store.load(one.head.key)) for one in owned]
            return [one if now is None else one._replace(rows=now.rows) for one, now in found]

        return await self._pass("read", read)

    async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
        return await self._pass("owned", lambda: self._store.owned(worker, held))

    async def stall(self, worker: int, saga: bytes, reason: str, gone: int | None = None) -> None:
        await self._pass("stall", lambda: self._store.stall(worker, saga, reason, gone))

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        await self._pass("release", lambda: self._store.release(worker, sagas))

    async def unstall(self, plans: Collection[int]) -> int:
        return await self._pass("unstall", lambda: self._store.unstall(plans))

    async def rouse(self, plans: Collection[int]) -> int:
        return await self._pass("rouse", lambda: self._store.rouse(plans))

    async def owned_mail(self, worker: int) -> list[MailRow]:
        return await self._pass("owned_mail", lambda: self._store.owned_mail(worker))

    async def answer_ended(self, limit: int) -> int:
        return await self._pass("answer_ended", lambda: self._store.answer_ended(limit))

    async def send(self, mails: Sequence[NewMail]) -> list[MailRow | None]:
        return await self._pass("send", lambda: self._store.send(mails))

    async def sent(self, key: str, message: str) -> MailRow | None:
        return await self._pass("sent", lambda: self._store.sent(key, message))

    def join(self, within: object) -> Joined | JoinedAsync:
        return self._store.join(within)

    async def mail(self, saga: bytes) -> list[MailRow]:
        return await self._store.mail(saga)

    async def head(self, key: str) -> SagaRow | None:
        return await self._pass("head", lambda: self._store.head(key))

    async def load(self, key: str) -> Loaded | None:
        return await self._pass("load", lambda: self._store.load(key))

    async def find(self, wanted: Filter) -> list[SagaRow]:
        return await self._store.find(wanted)

    async def count(self, *, open_only: bool = False) -> dict[tuple[int, str], int]:
        return await self._store.count(open_only=open_only)

    async def lengths(self, sagas: Sequence[bytes]) -> list[int]:
        return await self._store.lengths(sagas)

    async def overdue(self, before: float, limit: int) -> list[SagaRow]:
        return await self._store.overdue(before, limit)

    async def ended(self, before: float, after: bytes | None, limit: int) -> Ended:
        return await self._pass("ended", lambda: self._store.ended(before, after, limit))

    async def prune(self, before: float, sagas: Sequence[bytes]) -> int:
        return await self._pass("prune", lambda: self._store.prune(before, sagas))

    async def check(self) -> list[Health]:
        return await self._store.check()

    def listen(self, callback: Callable[[str], None]) -> None:
        self._store.listen(lambda topic: None if self._gate.loses_hint() else callback(topic))

    def hint(self, keys: Sequence[str], *, work: bool) -> None:
        if not self._gate.loses_hint():
            self._store.hint(keys, work=work)

    def watch(self, key: str) -> None:
        self._store.watch(key)
