"""Filling a store with a million sagas, copied from a few that really ran.

Guarantees: copies differ from their originals in their ids, keys, instants and the digits of what went wrong only.
Must not: touch a file or a database that something else uses.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from amends.run.chance import Chance, id_text

Kinds = tuple[str, ...]
BATCH = 20_000
MONTH_SECONDS = 30 * 86_400.0
HOUR_SHARE = 50  # every so many-th ended within the last hour
HELD = re.compile(r"parked|held")


class Original(NamedTuple):
    """A saga that really ran: its head by column, and its journal without the id."""

    head: dict[str, Any]
    journal: list[tuple[Any, ...]]


class Copy(NamedTuple):
    """One copy: the values of its head, and of its journal rows."""

    head: list[Any]
    journal: list[list[Any]]


def copies(originals: Sequence[Original], kinds: Kinds, ended: int, open_: int, parked: int) -> Iterator[Copy]:
    """The copies, the oldest first."""
    by_kind = {kind: [one for one in originals if one.head["key"].endswith(f" {kind}")] for kind in kinds}
    chance, now = Chance(), time.time()
    troubles = [one for kind in kinds if HELD.match(kind) for one in by_kind[kind]]
    every = ended + open_
    each_open, each_parked = every // max(open_, 1), max(open_ // max(parked, 1), 1)
    ended_kinds = [one for kind in ("done",) * 9 + ("back",) for one in by_kind[kind]]
    left, parked_left, opened = open_, parked, 0
    for number in range(every):
        share = number / every
        recent = share > 1 - 1 / HOUR_SHARE
        age = (1 - share) * HOUR_SHARE * 3600.0 if recent else MONTH_SECONDS * (1 - share)
        if left and number % each_open == 0:
            left -= 1
            opened += 1
            if parked_left and opened % each_parked == 0:
                parked_left -= 1
                one = troubles[parked_left % len(troubles)]
            else:
                one = by_kind["waiting"][opened % len(by_kind["waiting"])]
        else:
            one = ended_kinds[number % len(ended_kinds)]
        yield _copy(one, chance.uuid7(now - age), now - age, number)


def _copy(one: Original, new: bytes, at: float, number: int) -> Copy:
    head = {**one.head, "id": new, "key": id_text(new), "created_at": at, "updated_at": at + 1.0}
    for column in ("stuck", "reason"):
        if head[column]:
            head[column] = re.sub(r"\d{4}", str(1000 + number % 9000), head[column])
    return Copy(list(head.values()), [[new, *row] for row in one.journal])


def fill_sqlite(path: Path, kinds: Kinds, ended: int, open_: int, parked: int) -> None:
    """Fill a file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # nothing is lost that could not be copied again
        columns = [row[1] for row in connection.execute("PRAGMA table_info (amends_saga)")]
        rows = "SELECT ns, seq, op, row FROM amends_journal WHERE ns = ? AND saga = ? ORDER BY seq"
        heads = [dict(zip(columns, row, strict=True)) for row in connection.execute("SELECT * FROM amends_saga")]
        originals = [Original(head, connection.execute(rows, (head["ns"], head["id"])).fetchall()) for head in heads]
        places = ", ".join("?" * len(columns))
        for batch in _batches(copies(originals, kinds, ended, open_, parked)):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO amends_saga VALUES ({places})", [one.head for one in batch])  # noqa: S608
            journal = [row for one in batch for row in one.journal]
            connection.executemany(
                "INSERT INTO amends_journal (saga, ns, seq, op, row) VALUES (?, ?, ?, ?, ?)", journal
            )
            connection.execute("COMMIT")


def fill_postgres(url: str, kinds: Kinds, ended: int, open_: int, parked: int) -> None:
    """Fill a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET search_path = amends")
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM saga")
            columns = [column.name for column in cursor.description or ()]
            heads = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            rows = "SELECT ns, seq, op, row FROM journal WHERE ns = %s AND saga = %s ORDER BY seq"
            originals = [Original(head, cursor.execute(rows, (head["ns"], head["id"])).fetchall()) for head in heads]
            into = sql.SQL("COPY saga ({}) FROM STDIN").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
            for batch in _batches(copies(originals, kinds, ended, open_, parked)):
                with connection.transaction():
                    with cursor.copy(into) as copy:
                        for one in batch:
                            copy.write_row([_text(value) for value in one.head])
                    with cursor.copy("COPY journal (saga, ns, seq, op, row) FROM STDIN") as copy:
                        for one in batch:
                            for row in one.journal:
                                copy.write_row([_text(value) for value in row])
        connection.execute("VACUUM ANALYZE")


def _text(value: Any) -> Any:
    """An internal id as the server reads it; an input's hash is bytes there too, and longer."""
    return id_text(value) if isinstance(value, bytes) and len(value) == 16 else value


def _batches(found: Iterable[Copy]) -> Iterator[list[Copy]]:
    batch: list[Copy] = []
    for one in found:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
