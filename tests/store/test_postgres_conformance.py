"""The PostgreSQL store keeps every promise of `amends.store.base`, with a pooler between and without."""

from __future__ import annotations

import asyncio

import pytest

from amends.store.postgres import PostgresStore
from amends.testing.store_suite import Connect, StoreSuite
from services.postgres import Postgres


class TestPostgres(StoreSuite):
    @pytest.fixture
    def connect(self, postgres_url: str) -> Connect:
        asyncio.run(_upgrade(postgres_url))
        return lambda namespace: PostgresStore(postgres_url, namespace)


class TestBehindPgbouncer(StoreSuite):
    """In transaction mode, where every transaction may get another server connection."""

    @pytest.fixture
    def connect(self, pgbouncer_url: str) -> Connect:
        url = f"{pgbouncer_url}?pooling=transaction"
        asyncio.run(_upgrade(url))
        return lambda namespace: PostgresStore(url, namespace)


class TestOldestAndNewest(StoreSuite):
    """PostgreSQL 14, and the newest there is."""

    @pytest.fixture
    def connect(self, postgres_of_version: Postgres) -> Connect:
        url = postgres_of_version.create_database()
        asyncio.run(_upgrade(url))
        return lambda namespace: PostgresStore(url, namespace)


async def _upgrade(url: str) -> None:
    store = PostgresStore(url, "default")
    await store.upgrade()
    await store.close()
