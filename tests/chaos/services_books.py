"""The ledger of a service, written in its handlers' own transactions, and a log of all calls.

What it is: double entry in the service's own database. Nothing in it is unique: an effect that is there twice is
there twice, and the checker sees it. Each call of a handler is a line in a file of its process before anything else.
Guarantees: an entry is there if and only if the handler's transaction was committed.
Must not: know anything of amends, or forbid anything.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import psycopg.rows

_TABLES = """
CREATE TABLE IF NOT EXISTS entry (
    seq   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op    text NOT NULL CHECK (op IN ('do', 'undo')),
    key   text NOT NULL,
    saga  text NOT NULL,
    step  text NOT NULL,
    cents bigint NOT NULL,
    at    double precision NOT NULL
);
CREATE TABLE IF NOT EXISTS posting (seq bigint NOT NULL, account text NOT NULL, cents bigint NOT NULL);
CREATE INDEX IF NOT EXISTS of_entry ON posting (seq);
CREATE TABLE IF NOT EXISTS placed (id text PRIMARY KEY, cents bigint NOT NULL);
"""
_WRITE = """
WITH made AS (
    INSERT INTO entry (op, key, saga, step, cents, at)
    VALUES ({0}, {1}, {2}, {3}, {4}::bigint, extract(epoch FROM clock_timestamp())) RETURNING seq, step, cents
)
INSERT INTO posting SELECT seq, 'customer', -cents FROM made UNION ALL SELECT seq, step, cents FROM made
"""
PLACE = "INSERT INTO placed (id, cents) VALUES ($1, $2) ON CONFLICT DO NOTHING"
"""An order, in the database of the service that starts its saga and in the same transaction."""
WRITE_ASYNCPG = _WRITE.format("$1", "$2", "$3", "$4", "$5")
WRITE_PSYCOPG = _WRITE.format(*["%s"] * 5)
_UNBALANCED = """
SELECT e.seq FROM entry e WHERE 0 <> (SELECT coalesce(sum(p.cents), 1) FROM posting p WHERE p.seq = e.seq)
"""


class Entry(NamedTuple):
    """One line of a ledger. cents: negative where it is taken back. at: when it was written."""

    seq: int
    op: str
    key: str
    saga: str
    step: str
    cents: int
    at: float


def make_books(url: str) -> None:
    """The tables of an empty ledger."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLES)


def entries(url: str, sagas: str = "") -> list[Entry]:
    """All lines of one ledger, in its order; of sagas whose ids begin so."""
    query = "SELECT * FROM entry WHERE starts_with(saga, %s) ORDER BY seq"
    with psycopg.connect(url, autocommit=True) as connection:
        return [Entry._make(row) for row in connection.execute(query, (sagas,)).fetchall()]


def placed(url: str) -> dict[str, int]:
    """The orders that were placed with a saga, by its id, and their cents."""
    with psycopg.connect(url, autocommit=True) as connection:
        return dict(connection.execute("SELECT id, cents FROM placed").fetchall())


def unbalanced(url: str) -> list[int]:
    """The entries whose debits and credits differ."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [row[0] for row in connection.execute(_UNBALANCED).fetchall()]


def everything_of(url: str, sagas: Iterable[str]) -> str:
    """All rows of amends and of the ledger that name these sagas, and what every session does: to see why they hang."""
    told = []
    with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname = 'amends' OR tablename IN ('entry')"
        ).fetchall()
        known = [*sagas]
        if any(table["name"] == "amends.saga" for table in tables):
            ids = connection.execute("SELECT CAST(id AS text) AS id FROM amends.saga WHERE key = ANY(%s)", (known,))
            known += [row["id"] for row in ids.fetchall()]
        for table in tables:
            for saga in known:
                found = connection.execute(
                    f"SELECT t::text AS row FROM {table['name']} t"  # noqa: S608
                    " WHERE strpos(t::text, %s) > 0 OR strpos(t::text, encode(%s::bytea, 'hex')) > 0".encode(),
                    (saga, saga.encode()),
                ).fetchall()
                told += [f"{table['name']} {row['row']}" for row in found]
            if table["name"].endswith("inbox_death"):
                told += [str(row) for row in connection.execute(f"TABLE {table['name']}".encode()).fetchall()]
        sessions = connection.execute(
            "SELECT pid, state, wait_event, xact_start, query FROM pg_stat_activity WHERE datname = current_database()"
        )
        told += [str(row) for row in sessions.fetchall()]
    return "\n".join(told)


class Calls:
    """The log of one process."""

    def __init__(self, directory: Path) -> None:
        self._log = os.open(directory / f"calls-{os.getpid()}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, op: str, saga: str, step: str, attempt: int, mood: str) -> None:
        """A handler was called."""
        told = {"op": op, "saga": saga, "step": step, "attempt": attempt, "mood": mood, "pid": os.getpid()}
        os.write(self._log, (json.dumps({**told, "at": time.monotonic()}) + "\n").encode())


def lines(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Every whole line of these logs."""
    found = []
    for path in sorted(paths):
        for line in path.read_text(errors="replace").splitlines():
            if line.endswith("}"):
                found.append(json.loads(line))
    return found


def calls(directory: Path, sagas: str = "") -> list[dict[str, Any]]:
    """All calls of handlers, process by process."""
    return [line for line in lines(directory.glob("calls-*.jsonl")) if line["saga"].startswith(sagas)]
