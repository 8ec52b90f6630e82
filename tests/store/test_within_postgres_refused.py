"""`within=`: what is no open transaction on the sagas' own PostgreSQL database is refused, with the words that help."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from secrets import token_hex
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from amends import Orchestrator, Saga, step
from amends.errors import AmendsError, NotEnlisted
from amends.store.postgres import PostgresStore
from services.databases import Databases
from services.postgres import Postgres

SECONDS = 60.0


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


doubles = Saga("doubles", double, input=int, output=double)
Play = Callable[[Orchestrator], Awaitable[None]]


@pytest.fixture(scope="module")
def url(postgres_databases: Databases) -> Iterator[str]:
    """A database with the tables of amends. Each test has a namespace of its own."""
    database = postgres_databases.create()
    upgrade(database)
    yield database
    postgres_databases.drop(database)


def upgrade(url: str) -> None:
    async def main() -> None:
        store = PostgresStore(url, "default")
        await store.upgrade()
        await store.close()

    asyncio.run(main())


def as_client(url: str, play: Play) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            built = Orchestrator(url, sagas=[doubles], namespace=f"test-{token_hex(8)}")
            async with built.client():
                await play(built)
                assert await built.session.store.head("a") is None, "nothing may be written"

    asyncio.run(main())


async def refused(client: Orchestrator, within: object, words: str) -> None:
    with pytest.raises(NotEnlisted, match=words):
        await client.start(doubles, 1, id="a", within=within)


def test_asyncpg_without_a_transaction(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        connection = await asyncpg.connect(url)
        await refused(client, connection, r"commits by itself.*connection\.transaction\(\)")
        await connection.close()

    as_client(url, play)


def test_psycopg_in_autocommit_mode(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            await refused(client, connection, r"commits by itself.*connection\.transaction\(\)")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
            await refused(client, other, "commits by itself")

    as_client(url, play)


def test_psycopg2_in_autocommit_mode(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            await refused(client, connection, r"commits by itself.*autocommit = False")

    as_client(url, play)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_sqlalchemy_in_autocommit_mode(url: str, driver: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", f"postgresql+{driver}:"), isolation_level="AUTOCOMMIT")

    async def play(client: Orchestrator) -> None:
        with engine.begin() as connection:
            await refused(client, connection, "commits by itself.*AUTOCOMMIT")
        with Session(engine) as session:
            await refused(client, session, "commits by itself.*AUTOCOMMIT")

    as_client(url, play)
    engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_asynchronous_sqlalchemy_in_autocommit_mode(url: str, driver: str) -> None:
    async def play(client: Orchestrator) -> None:
        engine = create_async_engine(url.replace("postgresql:", f"postgresql+{driver}:"))
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await refused(client, connection, "commits by itself.*AUTOCOMMIT")
        await refused(client, engine.connect(), r"not open.*engine\.begin\(\)")
        await engine.dispose()

    as_client(url, play)


def test_a_session_that_wants_to_be_begun(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    async def play(client: Orchestrator) -> None:
        with Session(engine, autobegin=False) as session:
            await refused(client, session, r"SQLAlchemy gives no connection.*session\.begin\(\)")
        with Session(autobegin=True) as unbound:
            await refused(client, unbound, "SQLAlchemy gives no connection")

    as_client(url, play)
    engine.dispose()


def test_a_closed_connection(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        connection = psycopg.connect(url)
        connection.close()
        await refused(client, connection, "closed")

    as_client(url, play)


def test_what_is_no_connection_is_named_with_what_would_do(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    async def play(client: Orchestrator) -> None:
        others: list[tuple[Any, str]] = [
            ({}, r"within=builtins\.dict: a connection of asyncpg, psycopg or psycopg2 is expected"),
            (engine, r"within=sqlalchemy\.engine.*Engine: .*a connection or session of SQLAlchemy"),
            (url, r"within=builtins\.str: .*django\.db\.connection"),
        ]
        for other, words in others:
            await refused(client, other, words)

    as_client(url, play)
    engine.dispose()


def test_a_connection_to_another_kind_of_database(url: str) -> None:
    engine = sa.create_engine("sqlite://")

    async def play(client: Orchestrator) -> None:
        with closing(sqlite3.connect(":memory:")) as connection:
            await refused(client, connection, r"within=sqlite3\.Connection")
        with engine.begin() as other:
            await refused(client, other, "a connection to sqlite")

    as_client(url, play)
    engine.dispose()


def test_a_database_with_the_same_number_on_another_server(postgres_server: Postgres) -> None:
    with Postgres() as other_server:
        here, there = postgres_server.create_database(), other_server.create_database()
        for database in (here, there):
            upgrade(database)
        assert number(here) == number(there)

        async def play(client: Orchestrator) -> None:
            with closing(psycopg.connect(there)) as connection:
                await refused(client, connection, "another database")
            with closing(psycopg.connect(here)) as connection:
                await client.start(doubles, 1, id="b", within=connection)

        as_client(here, play)


def number(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()


def test_a_database_without_the_tables_of_amends(url: str, postgres_databases: Databases) -> None:
    bare = postgres_databases.create()

    async def play(client: Orchestrator) -> None:
        with closing(psycopg.connect(bare)) as connection:
            await refused(client, connection, "another database")
            connection.execute("SELECT 1")

    as_client(url, play)
    postgres_databases.drop(bare)


def test_a_transaction_that_may_only_read(url: str) -> None:
    async def play(client: Orchestrator) -> None:
        with closing(psycopg.connect(url)) as connection:
            connection.read_only = True
            await refused(client, connection, "read-only")

    as_client(url, play)


def test_an_asynchronous_connection_in_a_synchronous_call(url: str) -> None:
    built = Orchestrator(url, sagas=[doubles], namespace=f"test-{token_hex(8)}")
    sagas = built.blocking()

    async def main() -> object:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            with pytest.raises(NotEnlisted, match=r"await orchestrator\.start"):
                sagas.start(doubles, 1, id="a", within=connection)
        await connection.close()
        return None

    try:
        asyncio.run(main())
        with pytest.raises(AmendsError):
            sagas.handle(doubles, "a").outcome(timeout=1)
    finally:
        sagas.close()
