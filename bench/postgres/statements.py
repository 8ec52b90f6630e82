"""Where PostgreSQL's time goes: each of amends' statements, as `pg_stat_statements` saw it.

Guarantees: planning is counted too; on in passes of its own, since looking at it costs.
Must not: be compared with the other tables.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from amends.store.postgres_line import SQL
from bench.postgres.server import Server, database
from bench.postgres.throughput import Cell, arguments
from bench.throughput import run

SHOWN = 4
SECONDS = 3.0
QUERY = """
SELECT query, calls, plans, mean_plan_time, mean_exec_time, rows, wal_bytes, total_plan_time + total_exec_time
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s)
      AND query LIKE '%%amends.%%' AND query !~ '^(CREATE|--|SELECT count)'
ORDER BY 8 DESC LIMIT %s
"""


def table(server: Server) -> list[str]:
    """The Markdown."""
    lines = [
        "| in flight | statement | calls per saga | plans | planning, ms | running, ms | ms per saga | WAL per saga |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell in (Cell("happy", 1), Cell("happy", 20), Cell("happy", 100), Cell("compensated", 100)):
        with database(server) as url:
            lines += _of(server, url, cell)
    return lines


def _of(server: Server, url: str, cell: Cell) -> list[str]:
    name = urlsplit(url).path.strip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET pg_stat_statements.track_planning = on").format(sql.Identifier(name))
        )
    run([*arguments("amends", cell, url), "--seconds", str(SECONDS)])
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM amends.saga").fetchone()
    sagas = 1 if row is None else int(row[0])
    lines = []
    for query, calls, plans, planning, running, _, wal, total in server.run(QUERY, name, SHOWN):
        figures = f"{calls / sagas:.3f} | {plans} | {planning:.3f} | {running:.3f} | {total / sagas:.4f}"
        lines.append(f"| {cell.flow} {cell.in_flight} | `{named(query)}` | {figures} | {wal / sagas:,.0f} B |")
    return lines


def named(query: str) -> str:
    """The name of a statement in the store's own file; else how it begins."""
    shape = _shape(query)
    return next((name for name, text in SQL.items() if _shape(text) == shape), " ".join(query.split())[:40])


def _shape(query: str) -> str:
    """A statement without what `pg_stat_statements` replaces: its constants, and what is extracted from an instant."""
    return re.sub(r"(?<=extract\()\S+|\s+|'[^']*'|\$?\b\d+(\.\d+)?\b|\b(true|false|NULL)\b", "", query)
