"""What each library's own way of ending a transaction does inside a step, and what sessions leave to be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from engine import Order
from sqlalchemy import orm
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tx_kinds import OWN, SOON, Desk, TxKind

from amends import Compensated, Completed, Context, Parked, Saga, step

KINDS = {kind.name: kind for kind in OWN}


class Base(orm.DeclarativeBase):
    """Of the user's models."""


class Booked(Base):
    """The table that steps write into."""

    __tablename__ = "booked"
    __table_args__ = {"schema": "public"}  # noqa: RUF012  # as SQLAlchemy wants it

    at: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    who: orm.Mapped[str]
    cents: orm.Mapped[int | None]


def desk_of(url: str, name: str, effects: Callable[[str], Any] | None = None) -> Desk:
    kind = KINDS[name]
    return Desk(url, TxKind(kind.name, kind.type, kind.is_async, effects))


def saga_of(book: Any, undo: Any, **options: Any) -> Saga[Order, None]:
    made = step(name="book", **{"retry": SOON, **options})(book)
    made.compensation(retry=SOON)(undo)
    return Saga("saga", made, input=Order)


def test_psycopg_refuses_a_commit_in_a_step(postgres_url: str) -> None:
    desk = desk_of(postgres_url, "psycopg")

    def book(tx: psycopg.Connection) -> None:
        tx.execute("INSERT INTO public.booked (who, cents) VALUES ('one', 1)")
        tx.commit()

    def undo(tx: psycopg.Connection) -> None: ...

    outcome = desk.run(saga_of(book, undo))

    assert isinstance(outcome, Compensated)
    assert "commit() forbidden" in outcome.reason
    assert desk.booked == []


def test_a_step_cannot_close_psycopgs_connection(postgres_url: str) -> None:
    desk = desk_of(postgres_url, "psycopg")

    def book(tx: psycopg.Connection) -> None:
        tx.execute("INSERT INTO public.booked (who, cents) VALUES ('one', 1)")
        tx.close()

    def undo(tx: psycopg.Connection) -> None: ...

    outcome = desk.run(saga_of(book, undo))

    assert isinstance(outcome, Compensated)
    assert "take the close() out" in outcome.reason
    assert desk.booked == []


def test_a_commit_of_sqlalchemys_connection_is_found_out(postgres_url: str) -> None:
    desk = desk_of(postgres_url, "sqlalchemy")

    def book(tx: sqlalchemy.Connection) -> None:
        tx.execute(sqlalchemy.text("INSERT INTO public.booked (who, cents) VALUES ('one', 1)"))
        tx.commit()

    def undo(tx: sqlalchemy.Connection) -> None: ...

    outcome = desk.run(saga_of(book, undo))

    assert isinstance(outcome, Parked)
    assert "ended its transaction itself" in outcome.reason


def test_asyncpgs_transactions_may_be_nested(postgres_url: str) -> None:
    desk = desk_of(postgres_url, "asyncpg")

    async def book(tx: asyncpg.Connection) -> None:
        async with tx.transaction():
            await tx.execute("INSERT INTO public.booked (who, cents) VALUES ('one', 1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with tx.transaction():
                await tx.execute("INSERT INTO public.booked (at, who, cents) SELECT at, 'two', 2 FROM public.booked")

    async def undo(tx: asyncpg.Connection) -> None: ...

    assert desk.run(saga_of(book, undo)) == Completed(None)
    assert desk.booked == [("one", 1)]


def test_a_session_that_commits_or_rolls_back_ends_nothing_of_the_steps(postgres_url: str) -> None:
    desk = desk_of(postgres_url, "sqlalchemy-session")

    def book(tx: orm.Session, ctx: Context) -> None:
        tx.add(Booked(who="committed", cents=ctx.attempt))
        tx.commit()
        tx.add(Booked(who="rolled back", cents=ctx.attempt))
        tx.flush()
        tx.rollback()
        if ctx.attempt == 1:
            raise ValueError("not yet")

    def undo(tx: orm.Session) -> None: ...

    assert desk.run(saga_of(book, undo)) == Completed(None)
    assert desk.booked == [("committed", 2)]


def test_what_a_session_has_not_flushed_is_flushed_when_the_step_returns(postgres_url: str) -> None:
    desk = desk_of(postgres_url, "sqlalchemy-session")

    def book(tx: orm.Session) -> None:
        tx.add(Booked(who="one", cents=1))

    def undo(tx: orm.Session) -> None: ...

    assert desk.run(saga_of(book, undo)) == Completed(None)
    assert desk.booked == [("one", 1)]


def test_an_asynchronous_session_is_flushed_too_and_what_that_raises_is_the_steps_own(postgres_url: str) -> None:
    def maker(url: str) -> async_sessionmaker[AsyncSession]:
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), isolation_level="SERIALIZABLE")
        return async_sessionmaker(engine, expire_on_commit=False)

    desk = desk_of(postgres_url, "sqlalchemy-async-session", maker)
    levels: list[str] = []

    async def book(tx: AsyncSession, ctx: Context) -> None:
        levels.append(str((await tx.execute(sqlalchemy.text("SHOW transaction_isolation"))).scalar_one()))
        tx.add(Booked(who=ctx.saga_id, cents=1 if ctx.saga_id == "fits" else None))

    async def undo(tx: AsyncSession) -> None: ...

    outcomes = desk.run(saga_of(book, undo, rejects=(IntegrityError,)), "fits", "null")

    assert outcomes[0] == Completed(None)
    assert isinstance(outcomes[1], Compensated)
    assert outcomes[1].cause == "rejected", "the database says no, and the step has said that this means no"
    assert desk.booked == [("fits", 1)]
    assert levels[0] == "serializable", "the user's own engine"
