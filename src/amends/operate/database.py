"""A database's place and schema, before anybody opens it.

Guarantees: asking for a version changes nothing; an upgrade is what any opening does.
Must not: create a file that was only asked about.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from amends.errors import StoreUnavailable
from amends.operate.values import SchemaVersion
from amends.run.database import DEFAULT_DATABASE, Database, sqlite_path, store_of
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_errors import translate
from amends.store.sqlite_file import CODE_VERSION, schema_of


def file_of(database: Database) -> Path:
    """The file of a database that is there. Raises StoreUnavailable, DefinitionError."""
    store = store_of(database, "default")
    if not isinstance(store, SqliteStore):
        raise StoreUnavailable("memory:// is gone with the process that made it; name a database file")
    if not store.path.exists():
        raise StoreUnavailable(
            f"{store.path}: there is no such file; give --database=sqlite:///…, or --app, or set AMENDS_DATABASE"
        )
    return store.path


def url_of(database: Database) -> str:
    """A database as text, for people and for the next command."""
    if database is None:
        database = os.environ.get("AMENDS_DATABASE") or DEFAULT_DATABASE
    if isinstance(database, SqliteStore):
        database = database.path
    return f"sqlite:///{database}" if isinstance(database, Path) else str(database)


def version_of(database: Database) -> SchemaVersion:
    """The schema of a database file, read without changing it.

    Raises StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    path = file_of(database)
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            version, floor = schema_of(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return SchemaVersion(version, floor, CODE_VERSION)


async def upgrade(database: Database) -> SchemaVersion:
    """Bring a database, new or old, to this code's schema. Raises what opening it raises."""
    if isinstance(database, str):
        sqlite_path(database)
    store = store_of(database, "default")
    await store.open(work=False)
    await store.close()
    return version_of(database)
