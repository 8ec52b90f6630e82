"""The drivers that a user may have, behind one face, so that one test serves all.

Every user has a table `invoice` of its own. A user is opened, begins, does something, and ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

INVOICE = "INSERT INTO public.invoice VALUES ('i')"


class User(Protocol):
    """One user with one connection."""

    within: Any

    async def open(self, url: str) -> None: ...
    async def begin(self, isolation: str = "READ COMMITTED") -> None: ...
    async def execute(self, statement: str) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...
    async def close(self) -> None: ...


class Asyncpg:
    """asyncpg, a connection of its own."""

    async def open(self, url: str) -> None:
        self.within: Any = await asyncpg.connect(url)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        self._transaction = self.within.transaction(isolation=isolation.lower().replace(" ", "_"))
        await self._transaction.start()

    async def execute(self, statement: str) -> None:
        await self.within.execute(statement)

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        await self._transaction.rollback()

    async def close(self) -> None:
        await self.within.close()


class AsyncpgPool(Asyncpg):
    """asyncpg, a connection from a pool."""

    async def open(self, url: str) -> None:
        self._pool = await asyncpg.create_pool(url, min_size=1, max_size=1)
        self.within = await self._pool.acquire()

    async def close(self) -> None:
        await self._pool.release(self.within)
        await self._pool.close()


class Psycopg:
    """psycopg, whose next statement begins, with rows as dictionaries."""

    async def open(self, url: str) -> None:
        self.within: Any = psycopg.connect(url, row_factory=dict_row)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        self.within.isolation_level = psycopg.IsolationLevel[isolation.replace(" ", "_")]

    async def execute(self, statement: str) -> None:
        self.within.execute(statement)

    async def commit(self) -> None:
        self.within.commit()

    async def rollback(self) -> None:
        self.within.rollback()

    async def close(self) -> None:
        self.within.close()


class PsycopgAutocommit(Psycopg):
    """psycopg in autocommit mode, with transactions that are begun explicitly."""

    async def open(self, url: str) -> None:
        self.within = psycopg.connect(url, autocommit=True)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        self.within.execute("BEGIN ISOLATION LEVEL " + isolation)


class PsycopgAsync:
    """psycopg, asynchronous."""

    async def open(self, url: str) -> None:
        self.within: Any = await psycopg.AsyncConnection.connect(url, row_factory=dict_row)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        await self.within.set_isolation_level(psycopg.IsolationLevel[isolation.replace(" ", "_")])

    async def execute(self, statement: str) -> None:
        await self.within.execute(statement)

    async def commit(self) -> None:
        await self.within.commit()

    async def rollback(self) -> None:
        await self.within.rollback()

    async def close(self) -> None:
        await self.within.close()


class Psycopg2:
    """psycopg2, with rows as dictionaries."""

    async def open(self, url: str) -> None:
        self.within: Any = psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        self.within.set_session(isolation_level=isolation)

    async def execute(self, statement: str) -> None:
        with self.within.cursor() as cursor:
            cursor.execute(statement)

    async def commit(self) -> None:
        self.within.commit()

    async def rollback(self) -> None:
        self.within.rollback()

    async def close(self) -> None:
        self.within.close()


class Sqlalchemy:
    """SQLAlchemy, a connection."""

    driver = "psycopg"

    async def open(self, url: str) -> None:
        self._engine = sa.create_engine(f"postgresql+{self.driver}://{url.partition('://')[2]}")
        self.within: Any = self._engine.connect()

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        self.within.execution_options(isolation_level=isolation)

    async def execute(self, statement: str) -> None:
        self.within.execute(sa.text(statement))

    async def commit(self) -> None:
        self.within.commit()

    async def rollback(self) -> None:
        self.within.rollback()

    async def close(self) -> None:
        self.within.close()
        self._engine.dispose()


class SqlalchemyPsycopg2(Sqlalchemy):
    """SQLAlchemy over psycopg2."""

    driver = "psycopg2"


class SqlalchemySession(Sqlalchemy):
    """SQLAlchemy, a session."""

    async def open(self, url: str) -> None:
        self._engine = sa.create_engine(f"postgresql+psycopg://{url.partition('://')[2]}")
        self.within = Session(self._engine)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        self.within.connection(execution_options={"isolation_level": isolation})


class SqlalchemyScoped(SqlalchemySession):
    """SQLAlchemy, a registry of sessions, as Flask has it."""

    async def open(self, url: str) -> None:
        self._engine = sa.create_engine(f"postgresql+psycopg://{url.partition('://')[2]}")
        self.within = scoped_session(sessionmaker(self._engine))

    async def close(self) -> None:
        self.within.remove()
        self._engine.dispose()


class SqlalchemyAsync:
    """SQLAlchemy, an asynchronous connection."""

    driver = "asyncpg"

    async def open(self, url: str) -> None:
        self._engine = create_async_engine(f"postgresql+{self.driver}://{url.partition('://')[2]}")
        self.within: Any = await self._engine.connect()

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        await self.within.execution_options(isolation_level=isolation)

    async def execute(self, statement: str) -> None:
        await self.within.execute(sa.text(statement))

    async def commit(self) -> None:
        await self.within.commit()

    async def rollback(self) -> None:
        await self.within.rollback()

    async def close(self) -> None:
        await self.within.close()
        await self._engine.dispose()


class SqlalchemyAsyncPsycopg(SqlalchemyAsync):
    """SQLAlchemy, an asynchronous connection over psycopg."""

    driver = "psycopg"


class SqlalchemyAsyncSession(SqlalchemyAsync):
    """SQLAlchemy, an asynchronous session."""

    async def open(self, url: str) -> None:
        self._engine = create_async_engine(f"postgresql+{self.driver}://{url.partition('://')[2]}")
        self.within = AsyncSession(self._engine)

    async def begin(self, isolation: str = "READ COMMITTED") -> None:
        await self.within.connection(execution_options={"isolation_level": isolation})


class SqlalchemyAsyncScoped(SqlalchemyAsyncSession):
    """SQLAlchemy, a registry of asynchronous sessions."""

    async def open(self, url: str) -> None:
        self._engine = create_async_engine(f"postgresql+{self.driver}://{url.partition('://')[2]}")
        self.within = async_scoped_session(async_sessionmaker(self._engine), scopefunc=lambda: 1)

    async def close(self) -> None:
        await self.within.remove()
        await self._engine.dispose()


USERS: dict[str, Callable[[], User]] = {
    "asyncpg": Asyncpg,
    "asyncpg-pool": AsyncpgPool,
    "psycopg": Psycopg,
    "psycopg-autocommit": PsycopgAutocommit,
    "psycopg-async": PsycopgAsync,
    "psycopg2": Psycopg2,
    "sqlalchemy": Sqlalchemy,
    "sqlalchemy-psycopg2": SqlalchemyPsycopg2,
    "sqlalchemy-session": SqlalchemySession,
    "sqlalchemy-scoped": SqlalchemyScoped,
    "sqlalchemy-async": SqlalchemyAsync,
    "sqlalchemy-async-psycopg": SqlalchemyAsyncPsycopg,
    "sqlalchemy-async-session": SqlalchemyAsyncSession,
    "sqlalchemy-async-scoped": SqlalchemyAsyncScoped,
}
