"""The server that everything runs on, and what it counts.

Guarantees: nothing that makes it less durable; what differs from its defaults is told.
Must not: count what it is asked by this module: that comes from another database.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from statistics import median
from typing import Any, LiteralString, NamedTuple
from urllib.parse import urlsplit

import psycopg

from bench import contender_bare_postgres, contender_restate, facts
from services.postgres import Postgres

SETTINGS: dict[str, str | int] = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
PACKAGES = ("amends", "asyncpg", "psycopg", "dbos", "absurd-sdk", "restate-sdk")


class Counted(NamedTuple):
    """What a server has done so far for one database, and written in all."""

    statements: float
    transactions: float
    wal_bytes: float
    wal_images: float

    def less(self, other: Counted, sagas: int) -> Counted:
        """What came since, per saga."""
        return Counted(*((mine - its) / sagas for mine, its in zip(self, other, strict=True)))


class Server:
    """One private server for a whole run."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._admin = psycopg.connect(postgres.admin_url, autocommit=True)
        self._admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        return self._postgres.pid

    @property
    def admin_url(self) -> str:
        """The administrator's URL."""
        return self._postgres.admin_url

    def fresh(self) -> str:
        """An empty database's URL."""
        return self._postgres.create_database()

    def drop(self, url: str) -> None:
        """Remove a database."""
        self._postgres.drop(url)

    def checkpoint(self) -> None:
        """So that every window begins alike: what is changed first after it is written as a whole page."""
        self._admin.execute("CHECKPOINT")

    def counted(self, url: str) -> Counted:
        """So far. Sessions tell of their transactions when they end, or once a second."""
        name = urlsplit(url).path.strip("/")
        row = self._admin.execute(
            """
            SELECT (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = d.oid
                    AND query !~* '^(begin|commit|rollback|set|show|deallocate|savepoint|release)'),
                   (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datid = d.oid),
                   pg_current_wal_insert_lsn() - '0/0', (SELECT wal_fpi FROM pg_stat_wal)
            FROM pg_database d WHERE datname = %s
            """,
            (name,),
        ).fetchone()
        if row is None:
            raise RuntimeError(f"there is no database {name}")
        return Counted(*map(float, row))

    def run(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """A statement of the administrator's, in the maintenance database."""
        return self._admin.execute(statement, values).fetchall()

    def close(self) -> None:
        """Let go of it."""
        self._admin.close()


@contextmanager
def serving(**more: str | int) -> Iterator[Server]:
    """A server, as long as it is needed."""
    with Postgres(**{**SETTINGS, **more}) as postgres:
        server = Server(postgres)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def database(server: Server) -> Iterator[str]:
    """A database, as long as it is needed."""
    url = server.fresh()
    try:
        yield url
    finally:
        server.drop(url)


async def lines(server: Server) -> list[str]:
    """The Markdown: the machine, the versions, the server's settings, what a commit takes."""
    with database(server) as url:
        took = sorted(await contender_bare_postgres.commit(url))
    (name,) = server.run("SELECT split_part(version(), ' on ', 1)")[0]
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    settings = ", ".join(f"`{key} = {value}`" for key, value in SETTINGS.items())
    restate = "its server from npm" if contender_restate.program() else "its server is not here: not measured"
    return [
        f"- {facts.processor()}, {system}, Python {platform.python_version()}, {name}",
        "- " + ", ".join(f"{package} {version(package)}" for package in PACKAGES) + f" ({restate})",
        f"- PostgreSQL's defaults, durability included, but for {settings} and `pg_stat_statements`; the same for all",
        f"- overwriting 8 KiB and flushing it: {facts.flush(None):.2f} ms",
        f"- one row in one commit, asyncpg: {median(took):.2f} ms (p99 {took[int(len(took) * 0.99)]:.2f} ms)",
        f"- load average when this began: {facts.load()}",
    ]
