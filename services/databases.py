"""Fresh databases on a PostgreSQL server, whoever started it.

Guarantees: every database is new and empty; dropping one ends whoever is still connected to it.
Must not: touch a database that it did not make.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

CONNECT_SECONDS = 20
COPYING, COPIED = 15_00_00, " STRATEGY FILE_COPY"  # since this version; a third quicker to make, and to drop again


class Databases:
    """Makes and drops databases on the server of an administrator's URL."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url

    def url(self, database: str) -> str:
        """The URL of a database on this server."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{database}"))

    def create(self) -> str:
        """A fresh, empty database. Gives its URL."""
        name = f"test_{secrets.token_hex(8)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE template0{}")
        with self._connected() as connection:
            version = connection.info.server_version
            connection.execute(made.format(sql.Identifier(name), sql.SQL(COPIED if version >= COPYING else "")))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database made here, also while somebody is connected to it."""
        name = urlsplit(url).path.removeprefix("/")
        if not name.startswith("test_"):
            raise ValueError(f"{name} was not made here")
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: sql.SQL | sql.Composed) -> None:
        """Run one statement as the administrator, outside a transaction."""
        with self._connected() as connection:
            connection.execute(statement)

    def _connected(self) -> psycopg.Connection:
        return psycopg.connect(self.admin_url, autocommit=True, connect_timeout=CONNECT_SECONDS)
