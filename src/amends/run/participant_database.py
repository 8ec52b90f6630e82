"""Which database a service's effects, its inbox and its outbox are in.

Guarantees: what cannot fit is refused before anything is opened, and names the handler.
Must not: open anything, or import a driver that no handler asks for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from amends.define.handlers import Handler, Handlers
from amends.define.transactions import AWAITED, SQLITE
from amends.errors import DefinitionError
from amends.run.effects import Source, check_kinds, kinds_of, on_postgres, source_of
from amends.run.transactions import Transactions
from amends.run.transactions_sqlite import SqliteTransactions
from amends.store.postgres_place import Place

OPTION = "database"
PLAIN = "asyncpg.Connection"  # what a handler that sees no transaction runs in


class Home(NamedTuple):
    """A database, and the kinds of transactions that are wanted of it. default: of what sees none."""

    source: Source
    kinds: tuple[str, ...]
    default: str

    @property
    def awaited(self) -> bool:
        """Whether the default is one for event loops."""
        return self.default in AWAITED


def home_of(database: object, handlers: Handlers) -> Home | None:
    """Where the handlers of a service have their effects; None where there is no database. Raises DefinitionError."""
    wanted = _wanted(handlers)
    if database is None:
        _refuse_effects(handlers, wanted)
        return None
    source = source_of(database, OPTION)
    check_kinds(source, wanted.items(), database, OPTION)
    default = _default(source, wanted)
    home = Home(source, tuple(dict.fromkeys((*wanted, default))), default)
    for handler in handlers.all():
        if not handler.call.transaction and handler.call.is_async and default not in AWAITED and default != SQLITE:
            raise DefinitionError(
                f"{handler.where}: it is `async def`, takes no transaction, and database={database!r:.80} gives only "
                f"{default}: write it as a plain `def`, or give an asynchronous engine or pool"
            )
    return home


def transactions_on(home: Home, size: int, *, migrate: bool) -> Transactions:
    """The transactions of a participant. Raises DefinitionError where a driver is missing."""
    if isinstance(home.source, Path):
        return SqliteTransactions(home.source, time.time)
    return on_postgres(home.source, home.kinds, size, migrate=migrate)


def _wanted(handlers: Handlers) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for handler in handlers.all():
        if handler.call.transaction:
            found.setdefault(handler.call.transaction, handler.where)
    return found


def _refuse_effects(handlers: Handlers, wanted: Mapping[str, str]) -> None:
    for kind, where in wanted.items():
        raise DefinitionError(f"{where} takes a {kind}, and the participant has no database: give database=")
    for handler in _with_effects(handlers):
        raise DefinitionError(
            f"{handler.where}: without database= a participant can only read: give the database that its effects are "
            "in, or declare the command with readonly=True"
        )


def _with_effects(handlers: Handlers) -> list[Handler]:
    return [handler for handler in handlers.all() if not handler.readonly]


def _default(source: Source, wanted: Mapping[str, str]) -> str:
    """The kind for handlers that see no transaction, and for what the participant does for itself."""
    if isinstance(source, Path):
        return SQLITE
    possible = (*wanted, PLAIN) if isinstance(source, Place) else kinds_of(source)
    for kind in (*wanted, *possible):
        if kind in possible and kind in AWAITED:
            return kind
    return next((kind for kind in wanted if kind in possible), possible[0])
