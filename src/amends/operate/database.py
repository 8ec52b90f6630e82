"""A database's place and schema, before anybody opens it.

Guarantees: asking for a version changes nothing; an upgrade is done whoever asks, and only once.
Must not: create a file that was only asked about.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from amends.errors import SchemaMismatch, StoreUnavailable
from amends.operate.values import SchemaVersion
from amends.run.config import Config
from amends.run.database import DEFAULT_DATABASE, Database, masked, store_of
from amends.run.effects import own_inbox, transactions_of, upgrade_effects
from amends.run.remote import rotate, token_keys
from amends.run.transactions import Transactions
from amends.run.transactions_postgres import PostgresTransactions
from amends.run.transactions_sqlite import SqliteTransactions
from amends.store.base import Store
from amends.store.effects import has_inbox
from amends.store.memory import MemoryStore
from amends.store.postgres_place import Place
from amends.store.sqlite import SqliteStore


def check_there(database: Database) -> None:
    """See that a database can be there: a file must, a server says so itself. Raises StoreUnavailable,
    DefinitionError."""
    store = store_of(database, "default")
    if isinstance(store, MemoryStore):
        raise StoreUnavailable("memory:// is gone with the process that made it; name a database")
    if isinstance(store, SqliteStore) and not store.path.exists():
        raise StoreUnavailable(
            f"{store.path}: there is no such file; give --database=…, or --app, or set AMENDS_DATABASE"
        )


def url_of(database: Database) -> str:
    """A database as text, for people and for the next command."""
    if database is None:
        database = os.environ.get("AMENDS_DATABASE") or DEFAULT_DATABASE
    if isinstance(database, SqliteStore):
        database = database.path
    if isinstance(database, Path):
        return f"sqlite:///{database}"
    return masked(database) if isinstance(database, str) else str(getattr(database, "place", database))


async def version_of(config: Config) -> SchemaVersion:
    """The schema of a database, read without changing it.

    Raises StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    check_there(config.database)
    store = store_of(config.database, config.namespace)
    try:
        return SchemaVersion(*await store.schema())
    finally:
        await store.close()


async def check_sagas(database: Database) -> None:
    """See that a database holds sagas, in the schema of this code, without changing it: a file; a server says so
    itself. Raises StoreUnavailable, StoreDamaged, SchemaMismatch."""
    if not (database is None or isinstance(database, (str, Path))):
        return  # a store of somebody's own
    check_there(database)
    store = store_of(database, "default")
    if not isinstance(store, SqliteStore):
        return
    found = SchemaVersion(*await store.schema())
    if not found.version:
        other = ""
        if has_inbox(store.path):
            other = (
                "; it has the inbox of a service, for which there is `amends outbox status`; the choreographed sagas "
                "that it has started are found by --app=MODULE:NAME, its participant"
            )
        raise SchemaMismatch(f"{store.path} has no tables of amends for sagas{other}")
    if found.version < found.code:
        raise SchemaMismatch(
            f"{store.path} has schema {found.version}, and this amends needs {found.code}: run `amends db upgrade`; a "
            "worker brings it there, too"
        )


async def check(config: Config) -> SchemaVersion:
    """The same; and that the steps of an orchestrator which take a transaction find their inbox. Raises
    SchemaMismatch where they do not."""
    found = await version_of(config)
    if found.fits:
        inbox = transactions_of(replace(config, migrate=False), store_of(config.database, config.namespace))
        if isinstance(inbox, PostgresTransactions):  # a file gets it from whoever opens it
            await inbox.open()
            await inbox.close()
    return found


async def upgrade(config: Config) -> tuple[SchemaVersion, int]:
    """Bring a database, new or old, to this code's schema, with the inbox of steps that take a transaction;
    gives how many migrations were applied. Raises StoreError."""
    store = store_of(config.database, config.namespace)
    try:
        applied = [*await store.upgrade(), *await upgrade_effects(config, store)]
        return SchemaVersion(*await store.schema()), len(applied)
    finally:
        await store.close()


async def rotate_token_key(config: Config) -> int:
    """Have replies of services authenticated with a new key from now on; gives its number. Replies on their way
    keep theirs. Raises StoreError."""
    await check_sagas(config.database)
    store = store_of(config.database, config.namespace)
    await store.open(work=False)
    try:
        await rotate(store, config.namespace, await token_keys(store, config.namespace))
        return (await store.token_keys())[0].number
    finally:
        await store.close()


def inbox_of(config: Config, store: Store) -> Transactions | None:
    """The inbox of an orchestrator's effects; where nobody says which steps there are, the one in the sagas' own
    database, if that has one. Not open yet. Raises DefinitionError."""
    if config.registry.names or config.effects is not None:
        return transactions_of(config, store)
    if isinstance(store, SqliteStore):
        return SqliteTransactions(store.path, store.now) if has_inbox(store.path) else None
    place = getattr(store, "place", None)
    return own_inbox(place) if isinstance(place, Place) else None
