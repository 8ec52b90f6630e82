"""A server that sagas must not be kept on is refused, in words: one that does not wait for its disk, one that takes
no writes. Of several hosts the one that does is found."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from amends.errors import StoreUnavailable
from amends.store.postgres import PostgresStore
from services.postgres import USER, Postgres


class Standby(Postgres):
    """A physical replica of a running server."""

    def __init__(self, primary: Postgres) -> None:
        super().__init__()
        self._primary = primary
        self._password = primary._password

    def _make_cluster(self) -> None:
        copy = [str(self._bin / "pg_basebackup"), "--dbname", self._primary.admin_url, "--write-recovery-conf"]
        self.place.run([*copy, "--pgdata", str(self._data), "--checkpoint", "fast", "--no-sync"])
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"include '{self.directory / 'server.conf'}'\n")  # after the primary's, so that it counts


@pytest.fixture
def pair(postgres_server: Postgres) -> Iterator[tuple[str, str]]:
    """One database, by its primary's URL and by its standby's."""
    url = postgres_server.create_database()
    asyncio.run(opened(url, migrate=True))
    with Standby(postgres_server) as standby:
        yield url, standby.admin_url.replace("/postgres", urlsplit(url).path)


async def opened(url: str, *, migrate: bool = False, work: bool = True) -> None:
    store = PostgresStore(url, "default", migrate=migrate)
    try:
        await store.open(work=work)
    finally:
        await store.close()


@pytest.mark.parametrize("work", [True, False], ids=["worker", "client"])
def test_a_server_that_acknowledges_before_it_is_on_disk_is_refused(work: bool, postgres_url: str) -> None:
    asyncio.run(opened(postgres_url, migrate=True))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{urlsplit(postgres_url).path[1:]}" SET synchronous_commit = off')

    with pytest.raises(StoreUnavailable, match="synchronous_commit = off: what is acknowledged could be lost"):
        asyncio.run(opened(postgres_url, work=work))


def test_a_standby_is_refused_and_among_several_hosts_the_primary_is_found(pair: tuple[str, str]) -> None:
    primary, standby = (urlsplit(url) for url in pair)
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    several = f"postgresql://{USER}:{primary.password}@{hosts}{primary.path}?target_session_attrs=primary"

    with pytest.raises(StoreUnavailable, match="is a standby and takes no writes; point the URL at the primary"):
        asyncio.run(opened(pair[1]))
    asyncio.run(opened(several))
