"""One worker per file: the lock, who is refused, and what it survives."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import time
from pathlib import Path

import pytest
from store_child import INFO, Child

from amends.errors import StoreDamaged, StoreUnavailable, WorkerRunning
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_lock import WorkerLock


def refusal(lock: WorkerLock) -> str:
    with pytest.raises(WorkerRunning) as caught:
        lock.take()
    return str(caught.value)


def test_a_second_worker_is_refused_at_once_with_words_that_help(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    first = Child("open", path, "work")
    first.line()

    words = refusal(WorkerLock(path))

    first.tell()
    first.end()
    for part in (f"process {first.pid}", str(path), "one worker and any number of clients", "client_lifespan"):
        assert part in words


def test_a_client_opens_beside_a_worker(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    worker, client = Child("open", path, "work"), Child("open", path, "client")

    assert [worker.line().split()[0], client.line().split()[0]] == ["open", "open"]

    for child in (worker, client):
        child.tell()
        assert child.end() == 0


def test_a_killed_worker_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    first = Child("open", path, "work")
    first.line()
    first.kill()

    second = Child("open", path, "work")

    assert second.line() == "open 2"
    second.tell()
    assert second.end() == 0


def test_a_second_worker_in_the_same_process_is_told_so(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "orders.db")
    lock.take()

    words = refusal(WorkerLock(tmp_path / "orders.db"))

    lock.release()
    assert "this process itself" in words


def test_several_orchestrators_in_one_process_work_on_files_of_their_own(tmp_path: Path) -> None:
    async def run() -> list[int]:
        stores = [SqliteStore(tmp_path / f"{name}.db", "default") for name in "abc"]
        for store in stores:
            await store.open(work=True)
        workers = [await store.register(INFO) for store in stores]
        clients = [SqliteStore(tmp_path / "a.db", "default") for _ in range(3)]
        for client in clients:
            await client.open(work=False)
        seen = [len(await client.workers()) for client in clients]
        for store in (*clients, *stores):
            await store.close()
        return workers + seen

    assert asyncio.run(run()) == [1] * 6


def test_the_lock_is_free_again_once_the_store_is_closed(tmp_path: Path) -> None:
    async def run() -> None:
        for _ in range(3):
            store = SqliteStore(tmp_path / "orders.db", "default")
            await store.open(work=True)
            await store.close()

    asyncio.run(run())
    assert not WorkerLock(tmp_path / "orders.db").held_by_somebody()


def test_a_worker_that_could_not_open_the_file_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_bytes(b"no database, just some bytes that are long enough to be read as a header" * 9)

    async def run() -> None:
        await SqliteStore(path, "default").open(work=True)

    with pytest.raises(Exception, match="no database"):
        asyncio.run(run())

    assert not WorkerLock(path).held_by_somebody()


def test_a_forked_child_neither_has_the_lock_nor_takes_it_along(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "orders.db")
    lock.take()
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()

    child = os.fork()
    if child == 0:
        lock.release()  # must not free the parent's
        os.write(said_write, b"1" if lock.held_by_somebody() else b"0")
        os.read(go_read, 1)  # outlives the parent's lock
        os._exit(0)
    held_in_child = os.read(said_read, 1)
    still_refused = refusal(WorkerLock(tmp_path / "orders.db"))
    lock.release()
    free = not lock.held_by_somebody()
    os.write(go_write, b".")
    os.waitpid(child, 0)
    for descriptor in (go_read, go_write, said_read, said_write):
        os.close(descriptor)

    assert held_in_child == b"1"
    assert f"{os.getpid()}" in still_refused or "this process itself" in still_refused
    assert free  # although the child lived


def test_a_program_that_the_worker_starts_does_not_hold_its_lock(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "orders.db")
    lock.take()
    sleeper = Child("open", tmp_path / "other.db", "client")
    sleeper.line()

    lock.release()

    assert not lock.held_by_somebody()
    sleeper.tell()
    sleeper.end()


def test_a_client_that_glances_at_the_lock_keeps_no_worker_out(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "orders.db")
    lock.take()
    lock.release()
    child = os.fork()
    if child == 0:
        glance = WorkerLock(tmp_path / "orders.db")
        while True:
            glance.held_by_somebody()
            time.sleep(0.001)

    try:
        for _ in range(200):
            lock.take()
            lock.release()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_the_lock_needs_no_space_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = WorkerLock(tmp_path / "orders.db")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock.take()

    assert lock.held_by_somebody()
    lock.release()


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "orders.db-worker").mkdir()

    with pytest.raises(StoreUnavailable, match=r"orders\.db-worker cannot be made"):
        WorkerLock(tmp_path / "orders.db").take()


def test_locks_that_are_forgotten_leave_nothing_behind(tmp_path: Path) -> None:
    from amends.store import sqlite_lock  # looks into its module

    for number in range(50):
        lock = WorkerLock(tmp_path / f"{number}.db")
        lock.take()
        lock.release()
    del lock
    gc.collect()

    assert len(sqlite_lock._held) == 0


def test_whoever_holds_the_lock_retires_all_others_at_once(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    first = Child("open", path, "work")
    gone = int(first.line().split()[1])
    first.kill()

    async def run() -> None:
        store = SqliteStore(path, "default")
        await store.open(work=True)
        me = await store.register(INFO)
        await store.retire_expired(me)
        await store.close()

    asyncio.run(run())

    connection = sqlite3.connect(path)
    retired = connection.execute("SELECT retired_at IS NOT NULL FROM amends_worker WHERE id = ?", (gone,)).fetchone()
    connection.close()
    assert retired == (1,)


def test_a_second_worker_is_refused_however_the_file_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data" / "orders.db"
    path.parent.mkdir()
    (tmp_path / "current").symlink_to(path.parent)
    (tmp_path / "link.db").symlink_to(path)
    monkeypatch.chdir(path.parent)
    spellings = (tmp_path / "link.db", tmp_path / "current" / "orders.db", Path("orders.db"), Path("../data/orders.db"))

    async def second(spelling: Path) -> None:
        with pytest.raises(WorkerRunning):
            await SqliteStore(spelling, "default").open(work=True)

    async def run() -> None:
        first = SqliteStore(path, "default")
        await first.open(work=True)
        for spelling in spellings:
            await second(spelling)
        await first.close()

    asyncio.run(run())


def test_a_worker_whose_lock_file_is_cleaned_away_takes_it_anew_and_still_keeps_a_second_one_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "orders.db"

    async def run() -> str:
        first = SqliteStore(path, "default")
        await first.open(work=True)
        path.with_name("orders.db-worker").unlink()
        await first.peek()
        words = refusal(WorkerLock(path))
        await first.close()
        return words

    assert "another worker" in asyncio.run(run())
    WorkerLock(path).take()


def test_a_worker_stops_where_a_second_one_has_come_in_by_way_of_a_removed_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> str:
        first, second = SqliteStore(path, "default"), SqliteStore(path, "default")
        await first.open(work=True)
        path.with_name("orders.db-worker").unlink()
        await second.open(work=True)
        with pytest.raises(StoreDamaged) as caught:
            await first.peek()
        await second.peek()
        await first.close()
        await second.close()
        return str(caught.value)

    assert "orders.db-worker was removed" in asyncio.run(run())
