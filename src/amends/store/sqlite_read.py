"""Finding sagas in a SQLite file, and forgetting them.

Guarantees: statements are short, so that a commit never waits long for a reader; which one is
used follows from the filter, so that looking for what is open or in trouble does not depend on
how many have ended.
Must not: be needed by the hot path.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from amends.store.base import Ended, Filter, SagaRow
from amends.store.rows import id_bound
from amends.store.sqlite_file import SQL

AFTER_ALL = b"\xff" * 17  # later than any internal id


def find_rows(connection: sqlite3.Connection, namespace: int, wanted: Filter) -> list[SagaRow]:
    """Heads, newest first."""
    statuses = json.dumps(wanted.statuses) if wanted.statuses else None
    plans = None if wanted.plans is None else json.dumps(wanted.plans)
    values = (namespace, wanted.before or AFTER_ALL, statuses, plans, wanted.limit)
    return [SagaRow(*row) for row in connection.execute(SQL[wanted.statement], values)]


def lengths(namespace: int, sagas: Sequence[bytes], connection: sqlite3.Connection) -> list[int]:
    """How many rows the journal of each has."""
    found = (connection.execute(SQL["length"], (namespace, saga)).fetchone() for saga in sagas)
    return [0 if row is None else int(row[0]) for row in found]


def look_for_old(
    namespace: int, before: float, after: bytes | None, limit: int, connection: sqlite3.Connection
) -> Ended:
    """What ended before an instant, in one stretch of ids."""
    values = (namespace, after or b"", before, limit, id_bound(before))
    rows = connection.execute(SQL["prunable"], values).fetchall()
    return Ended(tuple(row[0] for row in rows if row[1]), rows[-1][0] if len(rows) == limit else None)


def forget(namespace: int, before: float, sagas: Sequence[bytes], connection: sqlite3.Connection) -> int:
    """Forget sagas, in the transaction that is open, if they ended before an instant."""
    gone = [saga for saga in sagas if connection.execute(SQL["prune_saga"], (namespace, saga, before)).rowcount]
    for name in ("prune_journal", "prune_mail"):
        connection.executemany(SQL[name], [(namespace, saga) for saga in gone])
    return len(gone)
