"""What `doctor` says of a PostgreSQL server and of those who use it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from amends.store import postgres_check
from amends.store.base import Health
from amends.store.postgres import PostgresStore


def finding(url: str, what: str) -> Health:
    """One line of it."""

    async def look() -> list[Health]:
        store = PostgresStore(url, "default", migrate=True)
        await store.open(work=False)
        try:
            return await store.check()
        finally:
            await store.close()

    return next(line for line in asyncio.run(look()) if line.what == what)


def test_a_transaction_that_is_left_open_is_named_with_the_way_to_end_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finding(postgres_url, "transactions") == Health("ok", "transactions", "none is left open")
    with psycopg.connect(postgres_url, application_name="night report") as left:
        left.execute("SELECT 1")
        assert finding(postgres_url, "transactions").level == "ok", "it is young"

        monkeypatch.setattr(postgres_check, "OLD_TRANSACTION_SECONDS", 0.0)
        found = finding(postgres_url, "transactions")

        assert found.level == "warning"
        assert f"process {left.info.backend_pid} (amends, night report) left one open" in found.detail
        assert found.detail.endswith(f"SELECT pg_terminate_backend({left.info.backend_pid})")


def test_a_role_that_cannot_see_the_sessions_of_others_is_told_so(postgres_url: str) -> None:
    name = f"blind_{urlsplit(postgres_url).path.removeprefix('/')}"
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        other.execute(f"GRANT CREATE ON DATABASE {urlsplit(postgres_url).path[1:]} TO {name}".encode())
        parts = urlsplit(postgres_url)
        url = urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.netloc.rpartition('@')[2]}"))
        try:
            found = finding(url, "transactions")
        finally:
            other.execute(f"DROP OWNED BY {name} CASCADE".encode())
            other.execute(f"DROP ROLE {name}".encode())

    assert found.level == "ok"
    assert "hidden without pg_read_all_stats" in found.detail


def test_durability_that_was_turned_off_is_an_error(postgres_url: str) -> None:
    assert finding(postgres_url, "durability").level == "ok"
    settings = {"synchronous_commit": "local", "fsync": "on", "full_page_writes": "off"}

    assert postgres_check._durable(settings).level == "error"
    assert "full_page_writes = off" in postgres_check._durable(settings).detail
