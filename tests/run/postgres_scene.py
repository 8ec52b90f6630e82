"""Orchestrators on PostgreSQL beside a user's own transactions: what tests of both need.

Guarantees: every session of the user's is ended.
Must not: pause for luck: a test waits for a condition.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from amends import Context, Orchestrator, Retry, Saga, Settings, step
from amends.run.session import input_hash

PATIENCE_SECONDS = 60.0
HERE = "pg_stat_activity WHERE datname = current_database()"  # the server is shared with other tests


@dataclass(frozen=True)
class Order:
    """The input of the sagas here."""

    cents: int = 100


class Gate:
    """A saga of two steps; the second waits for a gate of its own saga, if there is one."""

    def __init__(self, name: str = "gated") -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.calls: list[tuple[str, str]] = []

        @step(readonly=True)
        async def first(ctx: Context) -> None:
            self.calls.append((ctx.saga_id, "first"))

        @step(readonly=True, retry=Retry(attempts=50, first_delay=0.01), timeout=60)
        async def second(ctx: Context) -> None:
            self.calls.append((ctx.saga_id, "second"))
            if ctx.saga_id in self.gates:
                await self.gates[ctx.saga_id].wait()

        @step(readonly=True)
        async def third(ctx: Context) -> None:
            self.calls.append((ctx.saga_id, "third"))

        self.saga: Saga[Order, None] = Saga(name, first, second, third, input=Order)


def on(url: str, *sagas: Saga[Any, Any], **settings: float) -> Orchestrator:
    """An orchestrator on a database."""
    limits = Settings(**settings)  # type: ignore[arg-type]  # the counts are left alone
    return Orchestrator(url, sagas=sagas, settings=limits, migrate=True)


class User:
    """Somebody with the database's password."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sessions: list[asyncpg.Connection[asyncpg.Record]] = []
        self._eye: asyncpg.Connection[asyncpg.Record] | None = None

    async def begin(self, statement: str, *values: object) -> asyncpg.Connection[asyncpg.Record]:
        """A transaction that has run a statement, and stays open."""
        session = await asyncpg.connect(self._url, server_settings={"application_name": "a user"})
        self._sessions.append(session)
        await session.execute("BEGIN")
        await session.fetch(statement, *values)
        return session

    async def start(self, orchestrator: Orchestrator, saga: Saga[Order, None], key: str, cents: int = 100) -> Any:
        """A transaction that starts a saga, with plain SQL; no worker knows of it until it commits."""
        session = orchestrator.session
        plan = session.plans.number_of(saga.program.plan.fingerprint)
        payload, _ = saga.program.input.admit(Order(cents), "", 10_000)
        row = (
            "INSERT INTO amends.saga (ns, plan, id, key, status, epoch, created_at, updated_at, input_hash) "
            "VALUES (1, $1, gen_random_uuid(), $2, 'parked', 1, 0, 0, $3)"
        )
        return await self.begin(row, plan, key, input_hash(saga.name, payload))

    async def value(self, statement: str, *values: object) -> Any:
        """One value, read now."""
        if self._eye is None:
            self._eye = await asyncpg.connect(self._url, server_settings={"application_name": "a user's eye"})
            self._sessions.append(self._eye)
        return await self._eye.fetchval(statement, *values)

    async def run(self, script: str) -> None:
        """Run statements, now."""
        session = await asyncpg.connect(self._url)
        try:
            await session.execute(script)
        finally:
            await session.close()

    async def until(self, statement: str, *values: object) -> None:
        """Wait until a statement says true."""

        async def said() -> bool:
            return bool(await self.value(statement, *values))

        await until(said, statement)

    async def someone_waits(self, name: str = "amends commits aside") -> None:
        """Wait until a line of this name waits for a lock."""
        waits = f"SELECT count(*) FROM {HERE} AND wait_event_type = 'Lock' AND application_name = $1"
        await self.until(waits, name)

    def close(self) -> None:
        """End all sessions."""
        for session in self._sessions:
            session.terminate()


@asynccontextmanager
async def user(url: str) -> AsyncIterator[User]:
    """A user who is gone after the block."""
    somebody = User(url)
    try:
        yield somebody
    finally:
        somebody.close()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition, in bounded time."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"it did not come to pass that {what}") from None
