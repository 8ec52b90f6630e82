"""Every kind of transaction that a step may ask for on PostgreSQL, and one way to write steps for all.

What a step does is a coroutine `body(sql, ctx)`, where `await sql("INSERT …")` gives rows. For a
synchronous library it never waits, so a plain function completes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
import sqlalchemy
from engine import Order
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa

from amends import Context, Orchestrator, Reject, Retry, Saga, pivot, step
from amends.store.effects_postgres import complete

SOON = Retry(attempts=4, first_delay=0.01)
SCHEMA = "CREATE TABLE IF NOT EXISTS public.booked (at serial PRIMARY KEY, who text NOT NULL, cents integer NOT NULL)"
BOOK = "INSERT INTO public.booked (who, cents) VALUES ('{}', {})"
Sql = Callable[[str], Awaitable[Any]]
Body = Callable[[Sql, Context], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Booking:
    """What a step wrote."""

    number: int


@dataclass(frozen=True)
class TxKind:
    """A type of transaction, and what is given as effects. `effects`: entered on the running loop."""

    name: str
    type: Any
    is_async: bool
    effects: Callable[[str], Any] | None = None  # the sagas' own database

    def __repr__(self) -> str:
        return self.name

    def sql(self, tx: Any) -> Sql:
        """What runs a statement on a transaction."""
        return lambda text: _run(tx, text, is_async=self.is_async)

    @asynccontextmanager
    async def entered(self, url: str) -> AsyncIterator[Any]:
        """The effects on a database; what was made for them is gone afterwards."""
        made = None if self.effects is None else self.effects(url)
        try:
            yield made
        finally:
            await _close(made)


async def _run(tx: Any, text: str, *, is_async: bool) -> Any:
    if isinstance(tx, asyncpg.Connection):
        return await tx.fetch(text)
    plain = not isinstance(tx, (psycopg.Connection, psycopg.AsyncConnection))
    done = tx.execute(sqlalchemy.text(text.replace(":", "\\:")) if plain else text)
    if is_async:
        done = await done
    if plain:
        return done.fetchall() if done.returns_rows else []
    rows: Any = done.fetchall() if done.description else []
    return await rows if is_async and done.description else rows


async def _close(made: Any) -> None:
    engine = made.kw["bind"] if hasattr(made, "kw") else made
    end = getattr(engine, "dispose", None) or getattr(engine, "close", None)
    ended = None if end is None else end()
    if ended is not None:
        await ended


def _engine(url: str, driver: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(url.replace("postgresql:", f"postgresql+{driver}:"))


def _async_engine(url: str, driver: str) -> sa.AsyncEngine:
    return sa.create_async_engine(url.replace("postgresql:", f"postgresql+{driver}:"))


OWN = (
    TxKind("asyncpg", asyncpg.Connection, True),
    TxKind("psycopg", psycopg.Connection, False),
    TxKind("psycopg-async", psycopg.AsyncConnection, True),
    TxKind("sqlalchemy", sqlalchemy.Connection, False),
    TxKind("sqlalchemy-session", orm.Session, False),
    TxKind("sqlalchemy-async", sa.AsyncConnection, True),
    TxKind("sqlalchemy-async-session", sa.AsyncSession, True),
)
GIVEN = (
    TxKind("asyncpg-pool", asyncpg.Connection, True, lambda url: asyncpg.create_pool(url, min_size=0)),
    TxKind(
        "psycopg-pool",
        psycopg.Connection,
        False,
        # What a pool is still connecting when it is closed stays open.
        lambda url: psycopg_pool.ConnectionPool(url, open=False, min_size=1),
    ),
    TxKind(
        "psycopg-async-pool",
        psycopg.AsyncConnection,
        True,
        lambda url: psycopg_pool.AsyncConnectionPool(url, open=False, min_size=1),
    ),
    TxKind("psycopg2-engine", sqlalchemy.Connection, False, lambda url: _engine(url, "psycopg2")),
    TxKind("sessionmaker", orm.Session, False, lambda url: orm.sessionmaker(_engine(url, "psycopg"))),
    TxKind("async-engine", sa.AsyncConnection, True, lambda url: _async_engine(url, "psycopg")),
    TxKind(
        "async-sessionmaker", sa.AsyncSession, True, lambda url: sa.async_sessionmaker(_async_engine(url, "asyncpg"))
    ),
)
KINDS = OWN + GIVEN


class Desk:
    """A database with a table `booked`, sagas whose steps write into it, and what they said."""

    def __init__(self, url: str, kind: TxKind) -> None:
        self.url = url
        self.kind = kind
        self.said: list[str] = []
        self.sql(SCHEMA)

    def sql(self, text: str, *values: object) -> list[Any]:
        """One statement, committed."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            done = connection.execute(text, values or None)
            return done.fetchall() if done.description else []

    @property
    def booked(self) -> list[tuple[str, int]]:
        """What stands in the table."""
        return self.sql("SELECT who, cents FROM public.booked ORDER BY at")

    @property
    def inbox(self) -> list[tuple[str, int, str | None, bool]]:
        """What the inbox says."""
        return self.sql("SELECT address, round, action, compensated FROM amends.inbox ORDER BY address, round")

    def saga(self, body: Body, *, refuse: bool = False, undo: Body | None = None, **options: Any) -> Saga[Order, None]:
        """A step that inserts and does `body`, its undo, a decision."""

        async def booking(sql: Sql, ctx: Context) -> Booking:
            self.said.append(f"book {ctx.attempt}")
            await sql(BOOK.format(ctx.saga_id, 100))
            await body(sql, ctx)
            return Booking(ctx.attempt)

        async def unbooking(sql: Sql, ctx: Context, number: int) -> None:
            self.said.append(f"unbook {number}")
            await sql(BOOK.format(ctx.saga_id, -100))
            if undo is not None:
                await undo(sql, ctx)

        book, unbook = _functions(self.kind, booking, unbooking)
        made = step(name="book", **{"retry": SOON, **options})(book)
        made.compensation(retry=SOON)(unbook)

        @step
        async def decide() -> None:
            if refuse:
                raise Reject("no")

        return Saga("saga", made, pivot(decide), input=Order)

    def run(self, saga: Saga[Order, Any], *ids: str, **options: Any) -> Any:
        """The outcome of one run, or the outcomes of several at the same time."""

        async def main() -> Any:
            async with self.working(saga, **options) as orchestrator:
                if not ids:
                    return await orchestrator.run(saga, Order(), id="one")
                return await asyncio.gather(*(orchestrator.run(saga, Order(), id=id_) for id_ in ids))

        return asyncio.run(main())

    @asynccontextmanager
    async def working(self, saga: Saga[Order, Any], **options: Any) -> AsyncIterator[Orchestrator]:
        """An orchestrator at work."""
        async with self.kind.entered(self.url) as effects:
            given = {"migrate": True, "effects": effects, **options}
            async with Orchestrator(self.url, sagas=[saga], **given) as orchestrator:
                yield orchestrator


def _functions(kind: TxKind, booking: Any, unbooking: Any) -> tuple[Any, Any]:
    """The step and its compensation, with the kind's own annotation."""
    book: Any
    unbook: Any
    if kind.is_async:

        async def book(order: Order, tx: Any, ctx: Context) -> Booking:
            return await booking(kind.sql(tx), ctx)  # type: ignore[no-any-return]

        async def unbook(booking: Booking, tx: Any, ctx: Context) -> None:
            await unbooking(kind.sql(tx), ctx, booking.number)

    else:

        def book(order: Order, tx: Any, ctx: Context) -> Booking:
            return complete(booking(kind.sql(tx), ctx))  # type: ignore[no-any-return]

        def unbook(booking: Booking, tx: Any, ctx: Context) -> None:
            complete(unbooking(kind.sql(tx), ctx, booking.number))

    for fn in (book, unbook):
        fn.__annotations__["tx"] = kind.type
    return book, unbook


async def nothing(sql: Sql, ctx: Context) -> None:
    """No more than the insert."""
