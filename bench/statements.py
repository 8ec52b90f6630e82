"""Counting what reaches SQLite, by its trace callback on every connection that is opened.

Guarantees: a statement that runs for many rows counts once per row, as the library runs it.
Must not: be on while time is measured.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

KINDS = {"SELECT": "reads", "COMMIT": "commits", "BEGIN": "begins", "PRAGMA": "pragmas"}


def watch() -> Counter[str]:
    """Count from now on, in connections opened from now on: reads, writes, commits."""
    counts: Counter[str] = Counter()
    original = sqlite3.connect

    def trace(statement: str) -> None:
        counts[KINDS.get(statement.lstrip().split(None, 1)[0].upper(), "writes")] += 1

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*args, **kwargs)
        connection.set_trace_callback(trace)
        return connection

    for module in (sqlite3, sqlite3.dbapi2):
        module.__dict__["connect"] = connect
    return counts
