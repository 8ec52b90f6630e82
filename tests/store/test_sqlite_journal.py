"""The journal mode, which follows the SQLite library, and what durability hangs on."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store_child import INFO, Child, new_saga, next_row, number_of

from amends.errors import StoreUnavailable
from amends.store import effects, sqlite_file
from amends.store.base import Fate, Head
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_file import library_is_fixed
from amends.store.sqlite_lock import WorkerLock


def mode_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def make(path: Path, mode: str) -> None:
    """A file with the tables of amends, in a journal mode."""
    with closing(sqlite_file.connect(path, WorkerLock(path), work=False)):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")


def connected(path: Path, *, work: bool) -> sqlite3.Connection:
    return sqlite_file.connect(path, WorkerLock(path), work=work)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a library without the defect."""
    monkeypatch.setattr(sqlite_file, "library_is_fixed", lambda: True)


@pytest.fixture
def affected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a library with the defect."""
    monkeypatch.setattr(sqlite_file, "library_is_fixed", lambda: False)


# Which library


@pytest.mark.parametrize(
    "version",
    [(3, 51, 3), (3, 51, 4), (3, 52, 0), (3, 53, 1), (4, 0, 0), (3, 50, 7), (3, 50, 9), (3, 44, 6), (3, 44, 8)],
)
def test_a_fixed_library_is_known(version: tuple[int, int, int]) -> None:
    assert library_is_fixed(version)


@pytest.mark.parametrize(
    "version",
    [(3, 51, 2), (3, 51, 0), (3, 50, 6), (3, 49, 9), (3, 45, 0), (3, 44, 5), (3, 43, 9), (3, 40, 1), (3, 31, 0)],
)
def test_an_affected_library_is_known(version: tuple[int, int, int]) -> None:
    assert not library_is_fixed(version)


# Which mode


def test_a_fixed_library_works_in_wal(tmp_path: Path, fixed: None) -> None:
    with closing(connected(tmp_path / "orders.db", work=True)):
        pass

    assert mode_of(tmp_path / "orders.db") == "wal"


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_client_with_a_fixed_library_takes_what_it_finds(tmp_path: Path, fixed: None, mode: str) -> None:
    make(tmp_path / "orders.db", mode)

    with closing(connected(tmp_path / "orders.db", work=False)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == mode.lower()


@pytest.mark.parametrize("work", [True, False])
@pytest.mark.parametrize("found", ["DELETE", "TRUNCATE", "WAL"])
def test_an_affected_library_uses_a_rollback_journal(tmp_path: Path, affected: None, found: str, work: bool) -> None:
    path = tmp_path / "orders.db"
    make(path, found)

    with closing(connected(path, work=work)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "persist"

    assert mode_of(path) == "delete"  # PERSIST is a connection's own; the file is in no WAL mode


def test_a_client_with_an_affected_library_stays_out_of_a_wal_file_that_a_worker_uses(
    tmp_path: Path, affected: None
) -> None:
    path = tmp_path / "orders.db"
    make(path, "WAL")
    lock = WorkerLock(path)
    lock.take()

    with pytest.raises(StoreUnavailable, match="whose WAL can corrupt files"):
        connected(path, work=False)

    lock.release()
    assert mode_of(path) == "wal"


@pytest.mark.parametrize("work", [True, False])
def test_an_affected_library_does_not_convert_a_file_in_use(tmp_path: Path, affected: None, work: bool) -> None:
    path = tmp_path / "orders.db"
    make(path, "WAL")
    with closing(sqlite3.connect(path, isolation_level=None)) as user:
        user.execute("SELECT * FROM amends_schema").fetchall()
        user.execute("BEGIN")
        user.execute("SELECT * FROM amends_schema").fetchall()

        with pytest.raises(StoreUnavailable, match="is in WAL mode and in use"):
            connected(path, work=work)


def test_an_affected_library_leaves_the_wal_that_somebody_else_switched_on(tmp_path: Path, affected: None) -> None:
    path = tmp_path / "orders.db"

    async def run() -> list[Fate]:
        store = SqliteStore(path, "default")
        await store.open(work=True)
        worker = await store.register(INFO)
        with closing(sqlite3.connect(path)) as user:
            assert user.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal"
        fates = await store.commit(worker, [new_saga("a", number_of(1), owner=worker)])
        await store.close()
        return fates

    assert asyncio.run(run()) == [Fate.WRITTEN]
    assert mode_of(path) != "wal"


def test_an_affected_library_writes_into_no_wal_file_that_others_hold_open(tmp_path: Path, affected: None) -> None:
    path = tmp_path / "orders.db"

    async def run() -> tuple[str, list[Fate]]:
        store = SqliteStore(path, "default")
        await store.open(work=True)
        worker = await store.register(INFO)
        write = new_saga("a", number_of(1), owner=worker)
        with closing(sqlite3.connect(path, isolation_level=None)) as user:
            user.execute("PRAGMA journal_mode = WAL")
            user.execute("BEGIN")
            user.execute("SELECT * FROM amends_schema").fetchall()
            with pytest.raises(StoreUnavailable) as caught:
                await store.commit(worker, [write])
        again = await store.commit(worker, [write])
        await store.close()
        return str(caught.value), again

    words, again = asyncio.run(run())
    assert "take `PRAGMA journal_mode = WAL` out of your code" in words
    assert again == [Fate.WRITTEN]  # once nobody holds it, the file is converted and work goes on


def test_a_fixed_library_works_in_wal_from_end_to_end(tmp_path: Path, fixed: None) -> None:
    path = tmp_path / "orders.db"

    async def run() -> tuple[str, int, list[str]]:
        store, client = SqliteStore(path, "default"), SqliteStore(path, "default")
        await store.open(work=True)
        await client.open(work=False)
        worker = await store.register(INFO)
        for index in range(50):
            number = number_of(index)
            await store.commit(worker, [new_saga(f"s{index}", number, owner=worker)])
            await store.commit(worker, [next_row(number, 1, Head("completed", None, None))])
            assert await client.load(f"s{index}") is not None
        mode = mode_of(path)
        counts = await client.count()
        bad = [line.detail for line in await client.check() if line.level != "ok"]
        await client.close()
        await store.close()
        return mode, sum(counts.values()), bad

    assert asyncio.run(run()) == ("wal", 50, [])


# Durability


def settings_of(connection: sqlite3.Connection) -> tuple[int, int]:
    return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "fullfsync"))


@pytest.fixture(params=[True, False], ids=["fixed", "affected"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sqlite_file, "library_is_fixed", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("work", [True, False])
def test_every_connection_of_the_store_waits_for_the_disk(tmp_path: Path, either: bool, work: bool) -> None:
    with closing(connected(tmp_path / "orders.db", work=work)) as connection:
        assert settings_of(connection) == (2, 1)


def test_the_connection_of_the_effects_waits_for_the_disk_too(tmp_path: Path, either: bool) -> None:
    with closing(connected(tmp_path / "orders.db", work=True)):
        with closing(effects.connect(tmp_path / "orders.db")) as connection:
            assert settings_of(connection) == (2, 1)
        with closing(effects.connect(tmp_path / "shop.db")) as connection:
            assert settings_of(connection) == (2, 1)


# Two processes


def test_a_worker_and_a_client_at_full_speed_do_not_harm_each_other(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    worker = Child("write", path, 400)
    worker.line()
    client = Child("send", path, 150)
    client.line()

    worker.tell()
    client.tell()
    said = [client.line(), worker.line()]

    assert [worker.end(), client.end()] == [0, 0]
    assert [line.split()[:2] for line in said] == [["done", "150"], ["done", "400"]]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM amends_journal").fetchone() == (400 * 3 + 150,)
        assert connection.execute("SELECT count(*) FROM amends_mail").fetchone() == (150,)
