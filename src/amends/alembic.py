"""The tables of a service (inbox, outbox) as a revision of one's own migrations with Alembic.

    from alembic import op
    from amends.alembic import create_service_tables, drop_service_tables

    def upgrade() -> None:
        create_service_tables(op)

    def downgrade() -> None:
        drop_service_tables(op)

Guarantees: the same statements as `amends db upgrade` and `migrate=True`, online and with `--sql`; whichever comes
first, the others find the tables there.
Must not: import Alembic; a revision hands its own `op` over.
"""

from __future__ import annotations

from typing import Any

from amends.store.sql import migrations, split, statements

_DIALECTS = {"postgresql": "postgres_effects", "sqlite": "sqlite_effects"}


def create_service_tables(op: Any, *, since: int = 0, to: int | None = None) -> None:
    """Make the tables, or bring them from one version of the schema to another. op: Alembic's own.

    since, to: versions: the one that is there, 0 for none, and the one that is wanted, by default the newest that this
        amends knows. A revision that is kept for long says `to=`, so that it stays what it was; the next one begins
        there with `since=`. `SERVICE_SCHEMA` is the newest.

    Raises ValueError for a database that is neither PostgreSQL nor SQLite.
    """
    dialect = _dialect(op)
    last = SERVICE_SCHEMA if to is None else to
    for number, script in migrations(_DIALECTS[dialect]):
        if since < number <= last:
            for statement in split(script):
                op.execute(_plain(statement))


def drop_service_tables(op: Any) -> None:
    """Take the tables away, and all that they remember: a command that comes again then runs again."""
    for statement in split(statements(_DIALECTS[_dialect(op)])["drop"]):
        op.execute(statement)


def _dialect(op: Any) -> str:
    name = str(op.get_context().dialect.name)
    if name not in _DIALECTS:
        raise ValueError(f"the tables of a service are for PostgreSQL and SQLite, not for {name}")
    return name


def _plain(statement: str) -> str:
    """Without comments, and with no colon that Alembic would take for a parameter."""
    lines = [line.split("--", 1)[0].rstrip() for line in statement.splitlines()]
    return "\n".join(line for line in lines if line).replace(":", "\\:")


SERVICE_SCHEMA: int = migrations("postgres_effects")[-1][0]
