"""Steps' transactions through Django: `transaction.atomic()` on the connection of the step's thread.

Guarantees: what models do in the step's thread on that database is part of the transaction.
Must not: be imported where no step asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Thread
from typing import Any

from django.db import connections, transaction

from amends.errors import DefinitionError
from amends.store.effects_postgres import SQL, Row
from amends.store.effects_sql import named

STATEMENTS = {name: named(text, "%({})s") for name, text in SQL.items()}
_log = logging.getLogger("amends.effects")


class DjangoLender:
    """The connections of one of Django's databases: each thread has one."""

    awaited = False

    def __init__(self, source: Any) -> None:
        self._alias: str = getattr(source, "_alias", None) or source.alias

    async def open(self) -> None:
        vendor = connections[self._alias].vendor
        if vendor != "postgresql":
            raise DefinitionError(f"effects=…: Django's database {self._alias!r} is {vendor}; PostgreSQL is expected")

    async def close(self) -> None:
        """Connections are Django's."""

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        return None

    async def lend(self) -> Transaction:
        wrapper = connections[self._alias]
        wrapper.close_if_unusable_or_obsolete()
        return Transaction(wrapper)


class Transaction:
    """`atomic()`, entered."""

    def __init__(self, wrapper: Any) -> None:
        self.given: Any = wrapper
        self._block: Any = transaction.atomic(using=wrapper.alias, durable=True)
        self._raw: Any = None
        self._interrupted = False

    @property
    def lost(self) -> bool:
        return self.given.connection is None or bool(self.given.connection.closed)

    @property
    def open(self) -> bool:
        return bool(self.given.in_atomic_block)

    async def begin(self) -> None:
        self._block.__enter__()
        self._raw = self.given.connection

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        with self.given.cursor() as cursor:
            cursor.execute(STATEMENTS[name], {f"p{number}": value for number, value in enumerate(values, 1)} or None)
            rows: Sequence[Row] = cursor.fetchall() if cursor.description else []
        return rows

    async def execute(self, *texts: str) -> None:
        self.given.needs_rollback = False  # our savepoint takes back what has failed
        with self.given.cursor() as cursor:
            for text in texts:
                cursor.execute(text)

    async def flush(self) -> None:
        """There is nothing that is not written."""

    async def commit(self, *texts: str) -> None:
        if texts:
            await self.execute(*texts)
        self._block.__exit__(None, None, None)

    async def rollback(self) -> None:
        self.given.set_rollback(True)
        self._block.__exit__(None, None, None)

    async def give_back(self, *, sound: bool) -> None:
        if self.given.in_atomic_block:
            error = RuntimeError("the step is over")
            self._block.__exit__(RuntimeError, error, None)
        if not sound or self._interrupted:
            self.given.close()

    def interrupt(self) -> None:
        self._interrupted = True
        Thread(target=_cancel, args=(self._raw,), name="amends-cancel", daemon=True).start()


def _cancel(raw: Any) -> None:
    try:
        raw.cancel()
    except Exception as error:  # noqa: BLE001  # nobody waits for it; the step's grace goes on
        _log.warning("the statement of a step could not be cancelled: %s", error)
