"""Filling a database with sagas by copying one: a million would take an hour to run.

Guarantees: a copy differs from the saga that really ran in its id, its key and its age only.
Must not: touch a database that something else uses.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

BATCH = 50_000
# A UUIDv7 that is older than the original by a millisecond per copy, as they would be.
ID = """(lpad(to_hex((t.created_at * 1000)::bigint - {count} + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid"""


def multiply(url: str, count: int) -> None:
    """Copy the one saga of a database `count` times."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")  # nothing is lost that could not be copied again
        connection.execute("SET search_path = amends")
        made = sql.SQL(ID).format(count=sql.Literal(count))
        heads = _copy(connection, "saga", {"id": made, "key": sql.SQL("({})::text").format(made)})
        rows = _copy(connection, "journal", {"saga": made})
        for first in range(0, count, BATCH):
            numbers = {"first": first, "last": min(first + BATCH, count) - 1}
            with connection.transaction():
                connection.execute(heads, numbers)
                connection.execute(rows, numbers)
        connection.execute("DROP TABLE original_saga, original_journal")
        connection.execute("VACUUM ANALYZE")


def _copy(
    connection: psycopg.Connection[tuple[object, ...]], table: str, made: dict[str, sql.Composable]
) -> sql.Composed:
    """The statement that copies the original's rows of a table; for a journal `t` is the original's head."""
    columns = [name for (name,) in connection.execute(_COLUMNS, (table,)).fetchall() if isinstance(name, str)]
    original = sql.Identifier(f"original_{table}")
    connection.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(original, sql.Identifier(table)))
    values = [made.get(name, sql.SQL("o.{}").format(sql.Identifier(name))) for name in columns]
    order = sql.SQL("ORDER BY n, seq" if table == "journal" else "ORDER BY n")
    return sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM original_saga t, {original} o, "
        "generate_series(%(first)s::bigint, %(last)s) AS n {order}"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(values),
        original=original,
        order=order,
    )


_COLUMNS = """
SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
