"""The PostgreSQL store keeps every promise of `amends.store.base`."""

from __future__ import annotations

import asyncio

import pytest

from amends.store.postgres import PostgresStore
from amends.testing.store_suite import Connect, StoreSuite


class TestPostgres(StoreSuite):
    @pytest.fixture
    def connect(self, postgres_url: str) -> Connect:
        asyncio.run(_upgrade(postgres_url))
        return lambda namespace: PostgresStore(postgres_url, namespace)


async def _upgrade(url: str) -> None:
    store = PostgresStore(url, "default")
    await store.upgrade()
    await store.close()
