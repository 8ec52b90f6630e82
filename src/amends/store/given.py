"""A connection that a user gives as `within=`, whatever library it belongs to.

A library is looked for among the modules that are loaded, never imported: what the user holds an
object of is there.

Guarantees: nothing is begun, committed or rolled back that the library would not begin with the
user's next statement by itself.
Must not: know what is written into the transaction.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol

from amends.errors import NotEnlisted

Row = Sequence[Any]
Tell = Callable[[], object]
PARAMETER = "$1"  # the only one that a statement here may have: a text


class Given(Protocol):
    """A connection of the user's that is used on the thread that calls.

    dialect: postgresql, sqlite or another. raw: the driver's own connection. Both once `ready`.
    """

    awaited: Literal[False]
    dialect: str

    @property
    def raw(self) -> Any: ...

    def ready(self) -> None:
        """See that a transaction is open, or that the next statement opens one. Raises NotEnlisted."""
        ...

    def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        """Run a statement in the user's transaction, with its parameter if it has one."""
        ...

    def after_commit(self, tell: Tell) -> bool:
        """Have `tell` called when the transaction commits, just before or just after; False where the
        library has no hook for that."""
        ...


class GivenAsync(Protocol):
    """The same of an asynchronous library: it is used on the loop that calls."""

    awaited: Literal[True]
    dialect: str

    @property
    def raw(self) -> Any: ...

    async def ready(self) -> None:
        """As `Given.ready`."""
        ...

    def fetch(self, statement: str, value: str | None) -> Awaitable[Sequence[Row]]:
        """As `Given.fetch`."""
        ...

    def after_commit(self, tell: Tell) -> bool:
        """As `Given.after_commit`."""
        ...


def loaded(module: str, *names: str) -> tuple[type, ...]:
    """Classes of a module, if it is loaded: what to ask isinstance with."""
    there = sys.modules.get(module)
    return tuple(getattr(there, name) for name in names if hasattr(there, name))


def with_percent(statement: str) -> str:
    """A statement as most drivers want its parameter."""
    return statement.replace(PARAMETER, "%s")


def refuse_autocommit(kind: str, way: str) -> NotEnlisted:
    """The error for a connection on which each statement commits by itself."""
    return NotEnlisted(
        f"within=: the {kind} is in no transaction, each statement on it commits by itself, so there is nothing to "
        f"depend on: {way}"
    )


def refuse_failed(kind: str) -> NotEnlisted:
    """The error for a transaction that can only be rolled back."""
    return NotEnlisted(
        f"within=: the transaction on this {kind} has failed, an earlier statement raised an error: roll it back and "
        "begin another"
    )
