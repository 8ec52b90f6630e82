"""Engines of our own, for steps that take SQLAlchemy's connections and sessions."""

from __future__ import annotations

import asyncio
from typing import Any

from amends.store.effects_postgres import complete
from amends.store.effects_sqlalchemy import AsyncSqlalchemyLender, SqlalchemyLender, given
from amends.store.postgres_place import place_of


def test_a_connection_that_comes_back_after_its_lender_was_closed_is_closed(postgres_url: str) -> None:
    lender = SqlalchemyLender(given(place_of(postgres_url), 2, awaited=False), session=False)
    complete(lender.open())
    kept = complete(lender.lend())
    complete(kept.begin())
    raw: Any = kept.given.connection.driver_connection

    complete(lender.close())
    complete(kept.rollback())
    complete(kept.give_back(sound=True))

    assert raw.closed


def test_an_asynchronous_one_too(postgres_url: str) -> None:
    async def main() -> bool:
        lender = AsyncSqlalchemyLender(given(place_of(postgres_url), 2, awaited=True), session=False)
        await lender.open()
        kept = await lender.lend()
        await kept.begin()
        raw: Any = (await kept.given.get_raw_connection()).driver_connection

        await lender.close()
        await kept.rollback()
        await kept.give_back(sound=True)
        return bool(raw.is_closed())

    assert asyncio.run(main())
