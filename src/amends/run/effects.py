"""Which database the effects of transactional steps are in, and through what they are written.

    effects=None                     the sagas' own database
    effects="postgresql://…"         a database; each step's type says through which library
    effects=engine, pool, …          what the user has: a SQLAlchemy engine or sessionmaker, a pool of asyncpg
                                     or psycopg, a connection of Django's

Guarantees: what cannot fit is refused before anything is opened, naming the step.
Must not: import a driver that no step asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from amends.define.registry import Registry
from amends.define.transactions import AWAITED, SQLITE
from amends.errors import DefinitionError, StoreError
from amends.run.config import Config
from amends.run.database import check_database, is_postgres, masked, sqlite_path
from amends.run.transactions import Transactions
from amends.run.transactions_postgres import ASIDE, PostgresTransactions
from amends.run.transactions_sqlite import SqliteTransactions
from amends.store import effects_postgres
from amends.store.base import Store
from amends.store.effects_errors import translate
from amends.store.effects_postgres import Lender
from amends.store.postgres_place import Place, place_of
from amends.store.sqlite import SqliteStore

_SOURCES = {
    ("asyncpg.pool", "Pool"): ("asyncpg.Connection",),
    ("psycopg_pool", "ConnectionPool"): ("psycopg.Connection",),
    ("psycopg_pool", "AsyncConnectionPool"): ("psycopg.AsyncConnection",),
    ("sqlalchemy.engine", "Engine"): ("sqlalchemy.Connection", "sqlalchemy.orm.Session"),
    ("sqlalchemy.orm", "sessionmaker"): ("sqlalchemy.Connection", "sqlalchemy.orm.Session"),
    ("sqlalchemy.ext.asyncio", "AsyncEngine"): (
        "sqlalchemy.ext.asyncio.AsyncConnection",
        "sqlalchemy.ext.asyncio.AsyncSession",
    ),
    ("sqlalchemy.ext.asyncio", "async_sessionmaker"): (
        "sqlalchemy.ext.asyncio.AsyncConnection",
        "sqlalchemy.ext.asyncio.AsyncSession",
    ),
    ("django.utils.connection", "ConnectionProxy"): ("django's BaseDatabaseWrapper",),
    ("django.db.backends.base.base", "BaseDatabaseWrapper"): ("django's BaseDatabaseWrapper",),
}
Source = Any  # a Path, a Place, or an object of the user's


def check_effects(effects: object, registry: Registry) -> None:
    """See that `effects=` can be meant, and that its steps can have their transactions on it. Raises
    DefinitionError."""
    if effects is not None:
        check_kinds(source_of(effects, "effects"), _wanted(registry), effects)


def transactions_of(config: Config, store: Store) -> Transactions | None:
    """The effects of a worker; None where no step takes a transaction. Raises DefinitionError."""
    wanted: dict[str, str] = {}
    for kind, where in _wanted(config.registry):
        wanted.setdefault(kind, where)
    if not wanted:
        return None
    source = _own(store, wanted) if config.effects is None else source_of(config.effects, "effects")
    check_kinds(source, wanted.items(), config.effects)
    if isinstance(source, Path):
        return SqliteTransactions(source, store.now)
    return on_postgres(source, wanted, config.settings.transactions, migrate=config.migrate)


def on_postgres(source: Source, kinds: Iterable[str], size: int, *, migrate: bool) -> PostgresTransactions:
    """Transactions of these kinds. Raises DefinitionError where a driver is missing."""
    try:
        lenders = {kind: lender_of(kind, source, size + ASIDE) for kind in kinds}
    except ModuleNotFoundError as error:
        raise DefinitionError(
            f"a transaction needs the driver {error.name}: pip install {error.name}, or give an engine or a pool of "
            "your own instead of a URL"
        ) from error
    place = str(source) if isinstance(source, Place) else "the database of your own"
    return PostgresTransactions(lenders, place, size, migrate=migrate)


def own_inbox(place: Place) -> Transactions:
    """The inbox in a database, for whoever looks after it without any steps."""
    return PostgresTransactions({"": lender_of("asyncpg.Connection", place, 1 + ASIDE)}, str(place), 1, migrate=False)


async def upgrade_effects(config: Config, store: Store) -> list[int]:
    """Bring the inbox of an orchestrator's effects to this code's schema; gives the numbers of the migrations
    that were applied. Files do that by themselves. Raises StoreError and DefinitionError."""
    made = transactions_of(config, store)
    return await made.upgrade() if isinstance(made, PostgresTransactions) else []


async def upgrade_inbox(url: str) -> list[int]:
    """The same for a database, whoever uses it. Raises StoreError."""
    lender = lender_of("asyncpg.Connection", place_of(url), 1)
    try:
        await lender.open()
        return await effects_postgres.upgrade(lender)
    except StoreError:
        raise
    except Exception as error:
        raise translate(error, masked(url)) from error
    finally:
        await lender.close()


def lender_of(kind: str, source: Source, size: int) -> Lender:
    """What lends transactions of a kind. Raises DefinitionError."""
    if kind == "asyncpg.Connection":
        from amends.store.effects_asyncpg import AsyncpgLender

        return AsyncpgLender(source, size)
    if kind.startswith("psycopg."):
        from amends.store.effects_psycopg import AsyncPsycopgLender, PsycopgLender

        return AsyncPsycopgLender(source) if kind in AWAITED else PsycopgLender(source)
    if kind.startswith("sqlalchemy."):
        from amends.store.effects_sqlalchemy import AsyncSqlalchemyLender, SqlalchemyLender, given

        awaited = kind in AWAITED
        lend = AsyncSqlalchemyLender if awaited else SqlalchemyLender
        return lend(given(source, size, awaited=awaited), session=kind.endswith("Session"))
    from amends.store.effects_django import DjangoLender

    return DjangoLender(source)


def _wanted(registry: Registry) -> Iterator[tuple[str, str]]:
    """The kinds of transactions that are asked for, each with one place that does."""
    for saga in registry.by_fingerprint.values():
        for where, call in saga.program.calls():
            if call.transaction is not None:
                yield call.transaction, f"saga {saga.name!r}, {where}"


def source_of(effects: object, option: str) -> Source:
    """What `effects=`, or another option, names. Raises DefinitionError."""
    if isinstance(effects, Path):
        return effects
    if isinstance(effects, str):
        check_database(effects)
        return place_of(effects) if is_postgres(effects) else sqlite_path(effects)
    if kinds_of(effects):
        return effects
    raise DefinitionError(
        f"{option}={effects!r:.80}: a URL is expected, or an engine or sessionmaker of SQLAlchemy, a pool of asyncpg "
        "or psycopg_pool, or a connection of Django's"
    )


def _own(store: Store, wanted: dict[str, str]) -> Source:
    """The sagas' own database."""
    if isinstance(store, SqliteStore):
        return store.path
    place = getattr(store, "place", None)
    if isinstance(place, Place):
        return place
    kind, where = next(iter(wanted.items()))
    raise DefinitionError(f"{where} takes a {kind}, and the sagas are in no database that has one: give effects=")


def check_kinds(source: Source, wanted: Iterable[tuple[str, str]], given: object, option: str = "effects") -> None:
    """See that a database can give the kinds of transactions that are asked for, each somewhere. Raises
    DefinitionError."""
    for kind, where in wanted:
        if isinstance(source, Path):
            fits, has = kind == SQLITE, f"the SQLite file {source}"
        elif isinstance(source, Place):
            fits, has = kind != SQLITE and not kind.startswith("django"), str(source)
        else:
            fits, has = kind in kinds_of(source), f"{option}={given!r:.80}"
        if not fits:
            raise DefinitionError(f"{where} takes a {kind}, and there is none on {has}: {_way(kind, option)}")


def _way(kind: str, option: str) -> str:
    if kind == SQLITE:
        return f'give {option}="sqlite:///…", or ask for another'
    if kind.startswith("django"):
        return f"give {option}=django.db.connection"
    return f'give {option}="postgresql://…", or ask for another'


def kinds_of(source: object) -> tuple[str, ...]:
    """The kinds of transactions that an object of the user's can give."""
    for (module, name), kinds in _SOURCES.items():
        there = getattr(sys.modules.get(module), name, None)
        if there is not None and isinstance(source, there):
            return kinds
    return ()
