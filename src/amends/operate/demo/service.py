"""What it takes to be a good participant of a saga: a database, and a note of every key.

Guarantees: what is asked with a key happens at most once, in one local transaction with the note
of it; what was undone before it came never happens.
Must not: know what a service does, or who calls.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import ClassVar

Effect = Callable[[sqlite3.Connection], object]

_SEEN = """
CREATE TABLE IF NOT EXISTS seen (
    key TEXT PRIMARY KEY,
    undone_by TEXT,                      -- the key of its compensation
    early INTEGER NOT NULL DEFAULT 0,    -- a tombstone: the compensation came first
    repeats INTEGER NOT NULL DEFAULT 0,  -- asked again, answered from this note
    late INTEGER NOT NULL DEFAULT 0      -- came after its compensation, and was refused
);
"""


class Undone(Exception):
    """This was undone before it came, so it never happens."""


class Line:
    """The way to a service: carries a call there and the answer back. This one never fails."""

    async def carry(self, call: str, order: str, work: Callable[[], str]) -> str:
        """Have the service do its work; gives its answer. call, order: what it is about."""
        return await asyncio.to_thread(work)


class Service:
    """One service. What it does is in `services.py`."""

    tables: ClassVar[str] = ""

    def __init__(self, path: Path, line: Line | None = None) -> None:
        self._line = line or Line()
        self._lock = Lock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.executescript(_SEEN + self.tables)

    def close(self) -> None:
        """Let the database go."""
        with self._lock:
            self._db.close()

    async def _do(self, call: str, order: str, key: str, effect: Effect) -> str:
        """Have an effect once per key; gives a reference to it. Raises Undone, and what `effect` raises."""
        answer = await self._line.carry(call, order, partial(self._transaction, partial(_once, key, effect)))
        if not answer:
            raise Undone(f"{call} of {order} was undone before it came")
        return answer

    async def _undo(self, call: str, order: str, key: str, action_key: str, effect: Effect) -> None:
        """Undo what was done with `action_key`, or see to it that it never comes."""
        await self._line.carry(call, order, partial(self._transaction, partial(_take_back, key, action_key, effect)))

    def _transaction(self, work: Callable[[sqlite3.Connection], str]) -> str:
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            return work(self._db)


def _once(key: str, effect: Effect, db: sqlite3.Connection) -> str:
    seen = db.execute("SELECT undone_by FROM seen WHERE key = ?", (key,)).fetchone()
    if seen is None:
        effect(db)
        db.execute("INSERT INTO seen (key) VALUES (?)", (key,))
    elif seen[0] is None:
        db.execute("UPDATE seen SET repeats = repeats + 1 WHERE key = ?", (key,))
    else:
        db.execute("UPDATE seen SET late = late + 1 WHERE key = ?", (key,))
        return ""
    return key[:8]


def _take_back(key: str, action_key: str, effect: Effect, db: sqlite3.Connection) -> str:
    seen = db.execute("SELECT undone_by FROM seen WHERE key = ?", (action_key,)).fetchone()
    if seen is None:
        db.execute("INSERT INTO seen (key, undone_by, early) VALUES (?, ?, 1)", (action_key, key))
    elif seen[0] is None:
        effect(db)
        db.execute("UPDATE seen SET undone_by = ? WHERE key = ?", (key, action_key))
    else:
        db.execute("UPDATE seen SET repeats = repeats + 1 WHERE key = ?", (action_key,))
    return key[:8]
