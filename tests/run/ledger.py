"""A participant with its own database: it keeps its effects by the key it is given.

What it is: the far side of a step in the crash tests. An effect is one row, written once per
key; undoing a key that has no effect leaves a tombstone, so that the effect cannot come later.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock
from typing import NamedTuple

_TABLES = """
CREATE TABLE IF NOT EXISTS effect (key TEXT PRIMARY KEY, saga TEXT, step TEXT, cents INTEGER, undone_by TEXT);
CREATE TABLE IF NOT EXISTS call (saga TEXT, step TEXT, phase TEXT, key TEXT);
"""


class Effect(NamedTuple):
    """One row: what a key did. cents is None for a tombstone."""

    key: str
    saga: str
    step: str
    cents: int | None
    undone_by: str | None


class Ledger:
    """The participant's books. Each call is one committed transaction."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()  # steps come from several threads, and one connection has one transaction
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = OFF")  # these tests kill processes, not the machine
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def do(self, key: str, saga: str, step: str, cents: int) -> bool:
        """Have an effect, once per key. False if it was undone before it came."""
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT INTO call VALUES (?, ?, 'action', ?)", (saga, step, key))
            self._connection.execute("INSERT OR IGNORE INTO effect VALUES (?, ?, ?, ?, NULL)", (key, saga, step, cents))
            row = self._connection.execute("SELECT undone_by FROM effect WHERE key = ?", (key,)).fetchone()
        return row[0] is None

    def undo(self, key: str, action_key: str, saga: str, step: str) -> None:
        """Undo the effect of a key, or see to it that it never comes."""
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT INTO call VALUES (?, ?, 'undo', ?)", (saga, step, key))
            self._connection.execute(
                "INSERT OR IGNORE INTO effect VALUES (?, ?, ?, NULL, ?)", (action_key, saga, step, key)
            )
            self._connection.execute("UPDATE effect SET undone_by = ? WHERE key = ?", (key, action_key))

    def effects(self) -> list[Effect]:
        """All rows, tombstones too."""
        return [Effect(*row) for row in self._connection.execute("SELECT * FROM effect ORDER BY saga, step, key")]

    def standing(self, saga: str) -> set[str]:
        """The steps of a saga whose effects stand."""
        return {row.step for row in self.effects() if row.saga == saga and row.cents is not None and not row.undone_by}

    def balance(self) -> int:
        """The cents of all effects that stand."""
        return sum(row.cents or 0 for row in self.effects() if not row.undone_by)

    def calls(self, saga: str, step: str, phase: str = "action") -> int:
        """How often a step was called."""
        count = "SELECT count(*) FROM call WHERE saga = ? AND step = ? AND phase = ?"
        return int(self._connection.execute(count, (saga, step, phase)).fetchone()[0])
