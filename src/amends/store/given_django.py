"""`within=` Django's connection: inside `transaction.atomic()`.

Guarantees: statements go through Django, so its own checks of thread, loop and transaction hold.
Must not: import Django.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Literal

from amends.errors import NotEnlisted
from amends.store.given import Given, GivenAsync, Row, Tell, loaded, refuse_autocommit, refuse_failed, with_percent


def given(within: object) -> Given | GivenAsync | None:
    """`django.db.connection`, or one of `django.db.connections`; None for anything else."""
    if isinstance(within, loaded("django.utils.connection", "ConnectionProxy")):
        proxy: Any = within
        within = proxy._connections[proxy._alias]  # this thread's own
    if isinstance(within, loaded("django.db.backends.base.base", "BaseDatabaseWrapper")):
        return Django(within)
    return None


class Django:
    """A connection of Django's."""

    awaited: Literal[False] = False

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self.dialect: str = wrapper.vendor

    @property
    def raw(self) -> Any:
        return self._wrapper.connection

    def ready(self) -> None:
        if asyncio._get_running_loop() is not None and not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
            raise NotEnlisted(
                "within=: Django's connections are not for event loops: put atomic() and this call into one plain "
                "function (a saga is started with orchestrator.blocking() there), and call that with sync_to_async"
            )
        if self._wrapper.in_atomic_block:
            if self._wrapper.needs_rollback:
                raise refuse_failed("Django connection")
        elif self._wrapper.get_autocommit():
            raise refuse_autocommit("Django connection", "use it inside `with transaction.atomic():`")

    def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        with self._wrapper.cursor() as cursor:
            cursor.execute(with_percent(statement), None if value is None else [value])
            rows: Sequence[Row] = cursor.fetchall()
        return rows

    def after_commit(self, tell: Tell) -> bool:
        if not self._wrapper.in_atomic_block:
            return False  # transactions are the program's own, and Django refuses
        self._wrapper.on_commit(tell, robust=True)
        return True
