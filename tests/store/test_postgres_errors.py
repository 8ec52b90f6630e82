"""What is wrong with the URL of a PostgreSQL database is said with what to do about it."""

from __future__ import annotations

import asyncio

import pytest

from amends.errors import StoreUnavailable
from amends.store.postgres import PostgresStore
from amends.store.postgres_place import place_of


def trouble(url: str) -> str:
    """Why it cannot be opened."""

    async def work() -> None:
        store = PostgresStore(url, "default")
        try:
            await store.open(work=False)
        finally:
            await store.close()

    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(work())
    return str(caught.value)


def test_a_pooler_that_the_url_does_not_name_is_told_with_the_option_that_does(pgbouncer_url: str) -> None:
    direct = pgbouncer_url.partition("?")[0]

    assert "a pooler such as PgBouncer stands between: add ?pooling=transaction to the URL" in trouble(direct)


def test_an_option_that_nobody_knows_is_told_as_one_of_the_url(postgres_url: str) -> None:
    told = trouble(f"{postgres_url}?poolin=transaction")

    assert "the server does not know an option of the URL; check what is behind the ? (" in told
    assert '"poolin"' in told


def test_a_place_shows_no_password_however_it_is_shown() -> None:
    """Tracebacks and error trackers show what an object says of itself."""
    direct = "postgresql%3A%2F%2Fuser%3Asecret%40host%2Forders"
    place = place_of(f"postgresql://user:secret@pooler/orders?pooling=transaction&direct={direct}")

    assert "secret" not in f"{place} {place!r}"
