"""A service's database that does not answer, though the connection to it stands: nobody waits for it for ever."""

from __future__ import annotations

import asyncio

import pytest

from amends import Participant, Service
from amends.errors import StoreUnavailable
from amends.run import transactions_postgres
from services.proxy import Proxy

SECONDS = 60.0


def test_a_question_to_a_database_that_hangs_ends_and_the_next_goes_over_another_connection(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(proxy: Proxy) -> None:
        async with Participant(Service("idle"), database=postgres_url, migrate=True):
            pass
        transactions = Participant(Service("idle"), database=proxy.url(postgres_url)).transactions()
        assert transactions is not None
        await transactions.open()
        monkeypatch.setattr(transactions_postgres, "ASK_SECONDS", 0.5)
        await transactions.ask("now")

        proxy.freeze()
        with pytest.raises(StoreUnavailable, match="no answer came within"):
            await transactions.ask("now")
        proxy.thaw()

        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    assert len(await transactions.ask("now")) == 1
                    break
                except StoreUnavailable:
                    continue
        await transactions.close()

    with Proxy(postgres_url) as proxy:
        asyncio.run(asyncio.wait_for(main(proxy), SECONDS))
