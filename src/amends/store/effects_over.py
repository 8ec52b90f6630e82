"""How asyncpg's own transaction object learns that its transaction is over, where the COMMIT went out with other texts.

Guarantees: nothing is sent, and nothing but that object changes.
Must not: import a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Told:
    """A connection that has sent already what it is asked to send."""

    def __init__(self, below: Any) -> None:
        self.__dict__.update(_below=below)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._below, name, value)

    async def execute(self, query: str) -> None:
        """It was sent."""


def connection_of(transaction: Any) -> Any:
    """What a transaction of asyncpg's sends on; None where that is not to be seen."""
    below = getattr(transaction, "_connection", None)
    return below if hasattr(below, "get_reset_query") else None


@contextmanager
def already_over(transaction: Any) -> Iterator[None]:
    """Within, its commit() sends nothing."""
    below = transaction._connection
    transaction._connection = _Told(below)
    try:
        yield
    finally:
        transaction._connection = below
