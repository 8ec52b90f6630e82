"""A client that is frozen in an open transaction keeps its locks for no longer than a third of its lease."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from two_sessions import scene

from amends.errors import StoreError
from amends.store.postgres import PostgresStore


@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "direct"])
def test_a_transaction_that_says_nothing_is_rolled_back_after_a_third_of_the_lease(
    pooled: bool, postgres_url: str
) -> None:
    async def main() -> float:
        async with scene(postgres_url) as play:
            url = f"{postgres_url}?pooling=transaction" if pooled else postgres_url
            store = PostgresStore(url, "default")
            await store.open(work=True)
            worker = await store.register(play.rig.info(3.0))
            other = await play.session()
            loop, began = asyncio.get_running_loop(), 0.0
            with suppress(StoreError):
                async with store._commits.transaction() as connection:
                    await connection.fetch("SELECT FROM amends.worker WHERE id = $1 FOR SHARE", worker)
                    began = loop.time()  # from here on it is frozen, and another wants what it holds
                    await other.fetch("UPDATE amends.worker SET retired_at = 1.0 WHERE id = $1", worker)
            took = loop.time() - began
            await store.close()
            return took

    assert 0.5 < asyncio.run(main()) < 4.0, "a second, and what a busy machine takes"
