"""`within=`: what an open transaction of a user's does to the others, and they to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from amends import Completed, Orchestrator, Saga, Settings, step
from amends.errors import IdConflict
from amends.store.postgres import PostgresStore
from services.databases import Databases

SECONDS = 60.0


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


doubles = Saga("doubles", double, input=int, output=double)
Connection = Any
Play = Callable[[Orchestrator], Awaitable[None]]


@pytest.fixture(scope="module")
def url(postgres_databases: Databases) -> Iterator[str]:
    """A database with the tables of amends. Each test has a namespace of its own."""
    database = postgres_databases.create()

    async def main() -> None:
        store = PostgresStore(database, "default")
        await store.upgrade()
        await store.close()

    asyncio.run(main())
    yield database
    postgres_databases.drop(database)


def run(url: str, play: Play, *, work: bool = True) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            settings = Settings(poll_seconds=0.1)
            built = Orchestrator(url, sagas=[doubles], namespace=f"test-{token_hex(8)}", settings=settings)
            async with built if work else built.client():
                await play(built)

    asyncio.run(main())


@asynccontextmanager
async def user(url: str) -> AsyncIterator[Connection]:
    """A user's connection."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def until_it_waits(url: str, connection: Connection) -> None:
    """Wait until the user's connection waits for a lock."""
    pid = connection.get_server_pid()
    async with user(url) as looking:
        while not await looking.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("commits", [True, False])
def test_two_transactions_with_one_id_are_one_saga(url: str, commits: bool) -> None:
    async def play(working: Orchestrator) -> None:
        async with user(url) as first, user(url) as second:
            one, other = first.transaction(), second.transaction()
            await one.start()
            await other.start()
            await working.start(doubles, 1, id="a", within=first)
            waiting = asyncio.create_task(working.start(doubles, 1, id="a", within=second))
            await until_it_waits(url, second)
            await (one.commit() if commits else one.rollback())
            handle = await waiting
            await other.commit()

            assert await handle.outcome() == Completed(2)
            assert sum((await working.session.store.count()).values()) == 1

    run(url, play)


def test_who_waited_for_an_id_that_went_to_another_input_is_told(url: str) -> None:
    async def play(working: Orchestrator) -> None:
        async with user(url) as first, user(url) as second, second.transaction():
            one = first.transaction()
            await one.start()
            await working.start(doubles, 1, id="a", within=first)
            waiting = asyncio.create_task(working.start(doubles, 2, id="a", within=second))
            await until_it_waits(url, second)
            await one.commit()
            with pytest.raises(IdConflict):
                await waiting
            await working.start(doubles, 2, id="b", within=second)
        assert await working.handle(doubles, "b").outcome() == Completed(4)

    run(url, play)


def test_an_open_transaction_holds_up_nobody_but_who_wants_its_id(url: str) -> None:
    async def play(working: Orchestrator) -> None:
        async with user(url) as connection:
            transaction = connection.transaction()
            await transaction.start()
            await working.start(doubles, 1, id="mine", within=connection)
            same = asyncio.create_task(working.run(doubles, 1, id="mine"))

            outcomes = await asyncio.gather(*(working.run(doubles, n, id=f"other-{n}") for n in range(50)))
            assert outcomes == [Completed(n * 2) for n in range(50)]
            assert not same.done()
            await transaction.commit()

        assert await same == Completed(2)

    run(url, play)


def test_a_user_behind_a_pooler_enlists_too(url: str, pgbouncer: Any) -> None:
    async def play(working: Orchestrator) -> None:
        with psycopg.connect(pgbouncer.url(url), prepare_threshold=None) as connection:
            handle = await working.start(doubles, 21, within=connection)
            connection.commit()
            assert await handle.outcome() == Completed(42)

    run(url, play)


def test_a_start_in_a_transaction_touches_two_tables_and_nobody_elses_rows(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        async with user(url) as connection:
            plans = len(await client.session.store.plans())
            async with connection.transaction():
                await client.start(doubles, 1, id="a", within=connection)
                locked = await connection.fetch(
                    "SELECT DISTINCT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid() "
                    "AND mode NOT IN ('AccessShareLock', 'ExclusiveLock') AND relation IS NOT NULL"
                )
            tables = {row[0].removeprefix("amends.") for row in locked}
            assert {"saga", "journal"} <= tables
            assert not tables & {"plan", "worker", "namespace", "mail"}
            assert len(await client.session.store.plans()) == plans

    run(url, play, work=False)


def test_the_first_look_at_a_connection_is_the_only_one(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        async with user(url) as connection:
            sent: list[str] = []
            connection.add_query_logger(lambda record: sent.append(record.query))
            async with connection.transaction():
                for number in range(3):
                    await client.start(doubles, number, within=connection)
            statements = [query for query in sent if "amends" in query or "pg_" in query]
            assert len(statements) == 2 + 3

    run(url, play, work=False)


@pytest.mark.parametrize("kind", [AsyncConnection, AsyncSession])
def test_the_worker_hears_of_sqlalchemys_commit_whenever_it_comes(
    url: str, kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(working: Orchestrator) -> None:
        said = asyncio.Event()
        monkeypatch.setattr(working.session.store, "hint", lambda keys, *, work: said.set() if work else None)
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
        async with kind(engine) as connection:
            await working.start(doubles, 1, within=connection)
            await connection.rollback()
            await working.start(doubles, 21, within=connection)
            assert not working.session._hints_due, "nothing is said for luck"
            assert not said.is_set()
            await connection.commit()
        await said.wait()
        await engine.dispose()

    run(url, play)


def test_the_worker_is_told_a_little_later_where_the_driver_says_nothing_of_commits(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(working: Orchestrator) -> None:
        said = asyncio.Event()
        monkeypatch.setattr(working.session.store, "hint", lambda keys, *, work: said.set() if work else None)
        async with user(url) as connection, connection.transaction():
            await working.start(doubles, 1, within=connection)
        await said.wait()
        assert working.session._hints_due, "more than once, for it may have been too soon"

    run(url, play)


def test_listeners_of_a_long_connection_do_not_pile_up(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    async def play(client: Orchestrator) -> None:
        with engine.connect() as connection:
            for number in range(20):
                await client.start(doubles, number, within=connection)
                connection.commit()
            assert len(list(connection.dispatch.commit)) == 1

    run(url, play, work=False)
    engine.dispose()


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "never_made"
    id: Mapped[int] = mapped_column(primary_key=True)


def test_a_sessions_pending_objects_are_left_alone(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    async def play(client: Orchestrator) -> None:
        with Session(engine) as session:
            session.add(Row(id=1))
            await client.start(doubles, 1, within=session)
            assert len(session.new) == 1
            session.rollback()

    run(url, play, work=False)
    engine.dispose()
