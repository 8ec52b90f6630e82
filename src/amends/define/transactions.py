"""The types that a step may ask for a transaction by, and whose they are.

Guarantees: a class is known by its name, so no driver is imported for a saga that uses none.
Must not: open anything.
"""

from __future__ import annotations

from typing import Any, get_origin

from amends.define.hints import bare

SQLITE = "sqlite3.Connection"
_KINDS = {
    ("sqlite3", "Connection"): SQLITE,
    ("asyncpg.connection", "Connection"): "asyncpg.Connection",
    ("asyncpg.pool", "PoolConnectionProxy"): "asyncpg.Connection",
    ("psycopg", "Connection"): "psycopg.Connection",
    ("psycopg", "AsyncConnection"): "psycopg.AsyncConnection",
    ("sqlalchemy.engine.base", "Connection"): "sqlalchemy.Connection",
    ("sqlalchemy.orm.session", "Session"): "sqlalchemy.orm.Session",
    ("sqlalchemy.ext.asyncio.engine", "AsyncConnection"): "sqlalchemy.ext.asyncio.AsyncConnection",
    ("sqlalchemy.ext.asyncio.session", "AsyncSession"): "sqlalchemy.ext.asyncio.AsyncSession",
    ("django.db.backends.base.base", "BaseDatabaseWrapper"): "django's BaseDatabaseWrapper",
    ("django.db.backends.postgresql.base", "DatabaseWrapper"): "django's BaseDatabaseWrapper",
}
ACCEPTED = tuple(dict.fromkeys(_KINDS.values()))
AWAITED = frozenset(
    {
        "asyncpg.Connection",
        "psycopg.AsyncConnection",
        "sqlalchemy.ext.asyncio.AsyncConnection",
        "sqlalchemy.ext.asyncio.AsyncSession",
    }
)
LIBRARIES = frozenset({"asyncpg", "psycopg", "psycopg2", "sqlalchemy", "sqlmodel", "django"})


def transaction_kind(hint: Any) -> str | None:
    """The kind of transaction that an annotation means, if it means one."""
    hint = bare(hint)
    hint = get_origin(hint) or hint
    return _KINDS.get((hint.__module__, hint.__qualname__)) if isinstance(hint, type) else None


def misfit(kind: str, *, is_async: bool) -> str:
    """Why a function cannot use this kind of transaction; empty if it can."""
    if kind == SQLITE or is_async is (kind in AWAITED):
        return ""
    if is_async:
        return (
            f"an async function would stop the whole worker at every statement of a {kind}: write it as a plain `def`"
        )
    return f"a {kind} can only be awaited: write it as `async def`"
