"""Hints between processes on PostgreSQL, whatever somebody asks for."""

from __future__ import annotations

import asyncio

import pytest

from amends.store.postgres_hints import PostgresHints
from amends.store.postgres_place import place_of

PATIENCE_SECONDS = 60.0


@pytest.mark.parametrize("key", ["\ud800", "x" * 9000, "\N{SNOWMAN}" * 3000], ids=["half", "long", "long in bytes"])
def test_an_id_that_no_saga_can_have_is_not_said_and_ends_no_hints(key: str, postgres_url: str) -> None:
    """Whoever waits for a saga may have its id from anywhere."""

    async def main() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        worker, client = (PostgresHints(place_of(postgres_url), "amends_1", work=work) for work in (True, False))
        worker.open(heard.put_nowait)
        client.open(lambda topic: None)
        try:
            client.watch(key)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await heard.get()  # it listens
                client.watch(key)
                client.watch("one")
                while await heard.get() != "watched\none":
                    client.watch("one")
        finally:
            await asyncio.gather(worker.close(), client.close())

    asyncio.run(main())
