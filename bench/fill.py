"""Filling a file with sagas by copying one: a million would take an hour to run.

Guarantees: a copy differs from the saga that really ran in its ids, its key and its instants only.
Must not: touch a file that something else uses.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from amends.run.chance import Chance, id_text

BATCH = 20_000


def multiply(path: Path, count: int) -> None:
    """Copy the one saga of a file `count` times."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")  # nothing is lost that could not be copied again
    columns = [row[1] for row in connection.execute("PRAGMA table_info (amends_saga)")]
    head = dict(zip(columns, connection.execute("SELECT * FROM amends_saga").fetchone(), strict=True))
    rows = connection.execute("SELECT ns, seq, op, row FROM amends_journal ORDER BY seq").fetchall()
    places = ", ".join("?" * len(columns))
    chance = Chance()
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        ids = [
            chance.uuid7(head["created_at"] - (count - number) / 1000) for number in numbers
        ]  # older, as they would be
        heads = [{**head, "id": new, "key": id_text(new)} for new in ids]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT INTO amends_saga VALUES ({places})", [tuple(copy.values()) for copy in heads])  # noqa: S608
        journal = [(ns, new, seq, op, row) for new in ids for ns, seq, op, row in rows]
        connection.executemany("INSERT INTO amends_journal (ns, saga, seq, op, row) VALUES (?, ?, ?, ?, ?)", journal)
        connection.execute("COMMIT")
    connection.close()
