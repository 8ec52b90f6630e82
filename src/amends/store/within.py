"""What a user gives as `within=`: recognised, whatever library it belongs to.

Guarantees: what is of no library known here is named, with what would do.
Must not: talk to a database.
"""

from __future__ import annotations

from amends.errors import NotEnlisted
from amends.store import given_django, given_drivers, given_sqlalchemy
from amends.store.given import Given, GivenAsync

ELSEWHERE = "a connection or session of SQLAlchemy, or django.db.connection"


def recognised(within: object, drivers: str) -> Given | GivenAsync:
    """The user's connection, ready to be used. drivers: which would do, in words. Raises NotEnlisted."""
    found = given_drivers.given(within) or given_sqlalchemy.given(within) or given_django.given(within)
    if found is None:
        raise refuse(kind_of(within), drivers)
    return found


def refuse(what: str, drivers: str) -> NotEnlisted:
    """The error for what cannot be meant."""
    return NotEnlisted(f"within={what}: {drivers} is expected, {ELSEWHERE}")


def kind_of(within: object) -> str:
    """The name of its class, for the user."""
    return f"{type(within).__module__}.{type(within).__name__}"
