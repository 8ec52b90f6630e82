"""Connections of our own that psycopg's steps use, one after the other, from many threads."""

from __future__ import annotations

from typing import Any

from amends.store.effects_postgres import complete
from amends.store.effects_psycopg import PsycopgLender
from amends.store.postgres_place import place_of


class Emptied(list[Any]):
    """Idle connections, the last of which another thread takes between the look and the grip."""

    def __bool__(self) -> bool:
        return True


def test_an_idle_connection_that_another_thread_takes_first_is_no_trouble(postgres_url: str) -> None:
    lender = PsycopgLender(place_of(postgres_url))
    complete(lender.open())
    lender._idle = Emptied()

    tx = complete(lender.lend())

    assert not tx.lost
    complete(tx.give_back(sound=False))
