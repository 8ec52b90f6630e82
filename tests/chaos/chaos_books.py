"""A participant's ledger on a PostgreSQL server of its own: append-only, in double entry, with a log of all calls.

What it is: the first of the three records that the checker holds against each other. An entry and its two postings
are one transaction; each arrival is a line in a file of its process before anything else, also the refused and the
repeated ones.
Guarantees: one effect per key, and none after its undo. One statement a call, so that a frozen caller locks nobody out.
Must not: know anything of amends.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import psycopg
from ledger import Effect, Ledger

_TABLES = """
CREATE TABLE entry (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op         text NOT NULL CHECK (op IN ('do', 'undo', 'tombstone')),
    key        text NOT NULL,
    action_key text NOT NULL,
    saga       text NOT NULL,
    step       text NOT NULL,
    cents      bigint NOT NULL
);
CREATE UNIQUE INDEX one_do_one_undo ON entry (action_key, (op = 'do'));
CREATE TABLE posting (seq bigint NOT NULL, account text NOT NULL, cents bigint NOT NULL);

CREATE FUNCTION book(is_do boolean, a_key text, an_action text, a_saga text, a_step text, amount bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    done entry; undone entry; number bigint; moved bigint; word text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(an_action, 0));
    SELECT * INTO done FROM entry WHERE action_key = an_action AND op = 'do';
    SELECT * INTO undone FROM entry WHERE action_key = an_action AND op <> 'do';
    IF undone.seq IS NOT NULL THEN RETURN NOT is_do; END IF;
    IF is_do AND done.seq IS NOT NULL THEN RETURN true; END IF;
    word := CASE WHEN is_do THEN 'do' WHEN done.seq IS NULL THEN 'tombstone' ELSE 'undo' END;
    moved := CASE word WHEN 'do' THEN amount WHEN 'undo' THEN -done.cents ELSE 0 END;
    INSERT INTO entry (op, key, action_key, saga, step, cents)
    VALUES (word, a_key, an_action, a_saga, a_step, moved) RETURNING seq INTO number;
    INSERT INTO posting VALUES (number, 'customer', -moved), (number, a_step, moved);
    RETURN true;
END $$;
"""
_UNBALANCED = """
SELECT e.seq FROM entry e WHERE 0 <> (SELECT coalesce(sum(p.cents), 1) FROM posting p WHERE p.seq = e.seq)
"""
_BOOK = "SELECT book(%s, %s, %s, %s, %s, %s)"


class Entry(NamedTuple):
    """One line of the ledger. cents: negative where it is taken back, 0 in a tombstone."""

    seq: int
    op: str
    key: str
    action_key: str
    saga: str
    step: str
    cents: int


class Books(Ledger):
    """The same face as the file's ledger. calls: the directory of the call log."""

    def __init__(self, url: str, calls: Path) -> None:
        self._turn = Lock()  # steps come from several threads
        self._server = psycopg.connect(url, autocommit=True, connect_timeout=20)
        self._log = os.open(calls / f"calls-{os.getpid()}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def close(self) -> None:
        """Let the server go."""
        self._server.close()
        os.close(self._log)

    def do(self, key: str, saga: str, step: str, cents: int) -> bool:
        """Have an effect, once per key. False if it was undone before it came."""
        self._arrived("do", saga, step, key)
        return self._book(True, key, key, saga, step, cents)

    def undo(self, key: str, action_key: str, saga: str, step: str) -> None:
        """Undo the effect of a key, or see to it that it never comes."""
        self._arrived("undo", saga, step, key)
        self._book(False, key, action_key, saga, step, 0)

    def _book(self, *values: object) -> bool:
        with self._turn:
            row = self._server.execute(_BOOK, values).fetchone()
        return bool(row and row[0])

    def _arrived(self, op: str, saga: str, step: str, key: str) -> None:
        told = {"op": op, "saga": saga, "step": step, "key": key, "pid": os.getpid(), "at": time.monotonic()}
        os.write(self._log, (json.dumps(told) + "\n").encode())

    def effects(self) -> list[Effect]:
        """What each key did."""
        found: dict[str, Effect] = {}
        for line in self.entries():
            if line.op == "do":
                found[line.key] = Effect(line.key, line.saga, line.step, line.cents, None)
            elif line.op == "undo":
                found[line.action_key] = found[line.action_key]._replace(undone_by=line.key)
            else:
                found[line.action_key] = Effect(line.action_key, line.saga, line.step, None, line.key)
        return list(found.values())

    def entries(self) -> list[Entry]:
        """All lines, in the ledger's order."""
        return [Entry._make(row) for row in self._server.execute("SELECT * FROM entry ORDER BY seq").fetchall()]

    def unbalanced(self) -> list[int]:
        """The positions after which debits and credits differ."""
        query = (
            "SELECT seq FROM entry e WHERE 0 <> (SELECT coalesce(sum(p.cents), 1) FROM posting p WHERE p.seq = e.seq)"
        )
        return [row[0] for row in self._server.execute(query).fetchall()]

    def account(self, name: str) -> int:
        """What an account holds."""
        row = self._server.execute("SELECT coalesce(sum(cents), 0) FROM posting WHERE account = %s", (name,)).fetchone()
        return int(row[0]) if row else 0


def make_books(url: str) -> None:
    """The tables of an empty ledger."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLES)


def arrivals(calls: Path) -> list[dict[str, Any]]:
    """Every whole line of the call log, process by process."""
    found = []
    for path in sorted(calls.glob("calls-*.jsonl")):
        for line in path.read_text().splitlines():
            if line.endswith("}"):
                found.append(json.loads(line))
    return found
