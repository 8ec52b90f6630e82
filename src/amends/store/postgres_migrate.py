"""The schema of a PostgreSQL database: what is there, and how it gets what this code needs.

Each migration is one transaction under one advisory lock, and looks again once it has the lock; so
any number of processes may upgrade at once, and one that is killed leaves nothing half done.

Guarantees: code that is older than the schema's floor refuses, in words.
Must not: run unasked. A schema is changed when somebody says so, not when some worker starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amends import fault
from amends.errors import SchemaMismatch
from amends.store import effects_postgres
from amends.store.postgres_line import SQL, Connection, Line
from amends.store.sql import migrations, refuse_newer

MIGRATIONS = migrations("postgres")
MIGRATION_SECONDS = 24 * 3600.0  # no answer is waited for longer elsewhere, but this one takes what it takes
CODE_VERSION = MIGRATIONS[-1][0]


async def upgrade(line: Line) -> list[int]:
    """Apply what is missing; gives the numbers of what was applied. The inbox of steps with a
    transaction, which has migrations of its own, comes along: here it is by default. Raises StoreError."""
    applied = await _apply(line, SQL, MIGRATIONS)
    await _apply(line, effects_postgres.SQL, effects_postgres.MIGRATIONS)
    return applied


async def _apply(line: Line, sql: Mapping[str, str], scripts: Sequence[tuple[int, str]]) -> list[int]:
    async with line.transaction() as connection:
        there, _ = await _schema(connection, sql)  # mostly all of it
    applied: list[int] = []
    for number, script in scripts:
        if number <= there:
            continue
        async with line.transaction() as connection:
            await connection.execute("SET LOCAL lock_timeout = 0")  # whoever migrates now is waited for
            await connection.execute(sql["schema_lock"], timeout=MIGRATION_SECONDS)
            version, _ = await _schema(connection, sql)
            if version < number:
                await connection.execute(script, timeout=MIGRATION_SECONDS)
                fault.point("migrate.inside")
                applied.append(number)
    return applied


async def schema(line: Line) -> tuple[int, int, int]:
    """The version that is there, its floor, and the version of this code. 0 where amends has no tables yet."""
    async with line.transaction() as connection:
        return (*await _schema(connection, SQL), CODE_VERSION)


def check(version: int, floor: int, place: str) -> None:
    """Raises SchemaMismatch where this code cannot work with the schema."""
    if version < CODE_VERSION:
        there = f"schema {version}" if version else "no tables of amends"
        raise SchemaMismatch(f"{place} has {there}, and this amends needs {CODE_VERSION}: run `amends db upgrade`")
    refuse_newer(place, "schema", version, floor, CODE_VERSION)


async def _schema(connection: Connection, sql: Mapping[str, str]) -> tuple[int, int]:
    if not await connection.fetchval(sql["schema_there"]):
        return 0, 0
    row = await connection.fetchrow(sql["schema"])
    if row is None:
        raise SchemaMismatch("the database has tables of amends but no schema row; restore it from a backup")
    return int(row[0]), int(row[1])
