"""Two sessions and more on one PostgreSQL database, and what tests of locks ask of them.

A test says who waits for whom, and then who lets go: by what the server says of its sessions, never by a
pause. `mutant` replaces a piece of a statement, so that a test can show that it would notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from amends.store import postgres, postgres_line
from amends.store.postgres import PostgresStore
from amends.store.postgres_line import Connection, connect
from amends.store.postgres_place import SETTINGS, place_of
from amends.testing.store_suite.rig import Rig

PATIENCE_SECONDS = 60.0
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE $1
"""


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores opened from now on wait for a lock as long as a slow machine needs."""
    monkeypatch.setattr(postgres, "SETTINGS", {**SETTINGS, "lock_timeout": "50s"})


def mutant(monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str) -> None:
    """Have a statement lack what `old` says."""
    text = postgres_line.SQL[name]
    assert old in text, f"{name} has no {old!r}: the mutant is none"
    monkeypatch.setitem(postgres_line.SQL, name, text.replace(old, new))


class Scene:
    """A rig on PostgreSQL (`rig`), sessions of somebody else's, and a look at who waits."""

    def __init__(self, url: str, rig: Rig, watcher: Connection) -> None:
        self.url = url
        self.rig = rig
        self._watcher = watcher
        self._sessions: list[Connection] = []

    async def session(self) -> Connection:
        """A session of somebody else's."""
        connection = await connect(place_of(self.url).options(name="somebody else", settings={}), pooled=False)
        self._sessions.append(connection)
        return connection

    async def begin(self, *statements: str, values: tuple[object, ...] = ()) -> Connection:
        """A session with an open transaction that has run these statements."""
        session = await self.session()
        await session.execute("BEGIN")
        for statement in statements:
            await session.fetch(statement, *values)
        return session

    async def waiting(self, count: int, name: str = "%") -> None:
        """Wait until so many sessions (of this application name) wait for a lock."""
        await until(lambda: self.waits(count, name), f"{count} sessions wait for a lock")

    async def waits(self, count: int, name: str = "%") -> bool:
        """Whether that many wait at this moment."""
        return int(await self._watcher.fetchval(WAITING, name)) >= count

    async def blocked(self, pid: int, by: int) -> None:
        """Wait until one session waits for another, and for no third."""

        async def is_blocked() -> bool:
            return list(await self._watcher.fetchval("SELECT pg_blocking_pids($1)", pid)) == [by]

        await until(is_blocked, "the session waits for the one that came after it")

    async def value(self, statement: str, *values: object) -> object:
        """One value, read now."""
        return await self._watcher.fetchval(statement, *values)

    async def close(self) -> None:
        """End all sessions of somebody else's."""
        for session in self._sessions:
            session.terminate()
        await self._watcher.close()


@asynccontextmanager
async def scene(url: str) -> AsyncIterator[Scene]:
    """A fresh database with the schema, a first store, and a watcher."""
    first = PostgresStore(url, "default", migrate=True)
    await first.open(work=False)
    await first.close()
    watcher = await connect(place_of(url).options(name="watcher", settings={}), pooled=False)
    async with Rig(lambda namespace: PostgresStore(url, namespace)) as rig:
        played = Scene(url, rig, watcher)
        try:
            yield played
        finally:
            await played.close()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition, in bounded time."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"it did not come to pass that {what}") from None
