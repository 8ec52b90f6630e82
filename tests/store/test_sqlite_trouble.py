"""A disk that is full or fails, a file that is damaged or taken away, somebody who locks it: while
sagas run. Nothing is lost, nothing hangs, and every error names the file."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store_child import INFO, Child, new_saga, next_row, number_of

from amends import Completed, Orchestrator, Saga, Settings, step
from amends.errors import StoreDamaged, StoreUnavailable
from amends.store.base import Fate, Filter, NewMail
from amends.store.sqlite import SqliteStore

SECONDS = 60.0
PAYLOAD = "x" * 3000


@step(readonly=True)
async def echo(value: str) -> str:
    return value


echoes = Saga("echoes", echo, input=str, output=echo)


def orchestrator(path: Path) -> Orchestrator:
    return Orchestrator(path, sagas=[echoes], settings=Settings(poll_seconds=0.05))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def integrity(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path, timeout=SECONDS)) as connection:
        return list(connection.execute("PRAGMA integrity_check"))


def within(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run, and fail rather than hang."""

    async def run() -> None:
        async with asyncio.timeout(seconds):
            await work()

    asyncio.run(run())


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes, where this machine lets us have one."""
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Leave no space but a little."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(ballast, max(ballast.stat().st_size - leave, 0))
    return ballast


def test_a_full_disk_stops_the_work_and_space_resumes_it(small_disk: Path) -> None:
    path = small_disk / "orders.db"

    async def run() -> None:
        async with orchestrator(path) as working:
            assert await working.run(echoes, PAYLOAD, id="before") == Completed(PAYLOAD)
            ballast = fill(small_disk, leave=20_000)
            starts = [asyncio.create_task(working.run(echoes, PAYLOAD, id=f"full-{n}")) for n in range(60)]
            worker = working.session.worker
            assert worker is not None
            await until(lambda: bool(worker.trouble))
            assert f"the disk of {path} is full" in worker.trouble
            stored = {row.key for row in await working.session.store.find(Filter(limit=100))}

            ballast.unlink()
            outcomes = await asyncio.gather(*starts)

            assert outcomes == [Completed(PAYLOAD)] * 60
            assert "before" in stored
            assert worker.trouble == ""
            counts = await working.session.store.count()
            assert sum(counts.values()) == 61

    within(SECONDS, run)
    assert integrity(path) == [("ok",)]


@pytest.mark.parametrize("work", [True, False])
def test_a_start_on_a_full_disk_is_told_so_and_hangs_neither_the_caller_nor_the_end(
    small_disk: Path, work: bool
) -> None:
    path = small_disk / "orders.db"
    settings = Settings(answer_seconds=0.3, drain_seconds=0.3)
    full = Orchestrator(path, sagas=[echoes], settings=settings)

    async def run() -> None:
        async with full:
            pass
        ballast = Path()
        async with full if work else full.client():
            ballast = fill(small_disk)
            with pytest.raises(
                StoreUnavailable, match=r"'full-1' is not on disk after 0.3 s: the disk of .* is full.*again"
            ):
                await full.start(echoes, PAYLOAD * 10, id="full-1")

        ballast.unlink()
        async with full:
            handle = await full.start(echoes, PAYLOAD * 10, id="full-1")
            assert await handle.outcome(timeout=SECONDS) == Completed(PAYLOAD * 10)

    within(SECONDS, run)
    assert integrity(path) == [("ok",)]


def test_a_clients_write_on_a_full_disk_is_a_clear_error_and_leaves_nothing(small_disk: Path) -> None:
    path = small_disk / "orders.db"
    big = b'"' + b"x" * 100_000 + b'"'

    async def run() -> None:
        store = SqliteStore(path, "default")
        await store.open(work=False)
        await store.commit(None, [new_saga("there", number_of(1))])
        ballast = fill(small_disk)
        new = new_saga("new", number_of(2))._replace(row=big)

        with pytest.raises(StoreUnavailable, match=f"the disk of {path} is full"):
            await store.commit(None, [new])
        with pytest.raises(StoreUnavailable, match=f"the disk of {path} is full"):
            await store.send([NewMail("there", "m", "signal", big)])

        assert await store.head("new") is None
        assert await store.sent("there", "m") is None
        ballast.unlink()
        assert await store.commit(None, [new]) == [Fate.WRITTEN]
        await store.close()

    within(SECONDS, run)
    assert integrity(path) == [("ok",)]


@pytest.mark.parametrize("work", [True, False])
def test_opening_a_new_file_on_a_full_disk_is_a_clear_error(small_disk: Path, work: bool) -> None:
    ballast = fill(small_disk)
    path = small_disk / "orders.db"

    async def run() -> None:
        with pytest.raises(StoreUnavailable, match=f"the disk of {path} is full"):
            await SqliteStore(path, "default").open(work=work)
        ballast.unlink()
        store = SqliteStore(path, "default")
        await store.open(work=work)
        await store.close()

    within(SECONDS, run)


# A disk that fails


def test_after_a_failed_fsync_nothing_is_acknowledged_until_the_file_is_opened_anew(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("failing fsyncs are made with strace")
    failed = 0
    for number in range(60, 65):  # the fsyncs of one commit, one by one
        path = tmp_path / f"{number}.db"
        inject = f"inject=fsync,fdatasync:error=EIO:when={number}"
        strace = ("strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject)
        child = Child("write-until-it-fails", path, 40, python=strace)
        said = child.line().split(maxsplit=3)
        then = child.line()
        child.end()

        with closing(sqlite3.connect(path)) as connection:
            stored = connection.execute("SELECT count(*) FROM amends_saga").fetchone()[0]
        assert integrity(path) == [("ok",)]
        if said[0] == "went":  # SQLite does not mind a directory that cannot be synced
            continue
        failed += 1
        assert said[:2] == ["error", "StoreDamaged"]
        assert f"the disk under {path} failed (SQLITE_IOERR_FSYNC)" in said[3]
        assert then == "again StoreDamaged"
        assert stored in (int(said[2]), int(said[2]) + 1)  # what was acknowledged, and perhaps the uncertain one
    assert failed >= 3


def test_a_write_that_failed_otherwise_is_tried_again(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("failing writes are made with strace")
    strace = ("strace", "-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EIO:when=100")
    child = Child("write-until-it-fails", tmp_path / "orders.db", 40, python=strace)

    said = [child.line(), child.line()]

    child.end()
    assert said[0].startswith("error StoreUnavailable")
    assert f"{tmp_path / 'orders.db'} cannot be read or written (SQLITE_IOERR_WRITE)" in said[0]
    assert said[1] == "went on"


# A file that is damaged or taken away while it is in use


async def broken_worker(path: Path, harm: Callable[[], None]) -> str:
    """A worker at work when harm comes to its file; gives what it says, and what a start and a
    wait say after that."""
    async with orchestrator(path) as working:
        await working.run(echoes, "before", id="before")
        worker = working.session.worker
        assert worker is not None
        harm()
        with pytest.raises(StoreDamaged):
            await asyncio.gather(*(working.run(echoes, PAYLOAD, id=f"after-{n}") for n in range(20)))
        with pytest.raises(StoreDamaged):
            await working.start(echoes, PAYLOAD, id="later")
        with pytest.raises(StoreDamaged):
            await working.handle(echoes, "before").outcome()
        await until(worker.failed.done)
        return str(worker.failed.exception())


def damage(path: Path) -> Callable[[], None]:
    """Overwrite every page but the first."""

    def harm() -> None:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(24)
            file.write(b"\x7f\x7f\x7f\x7f")  # so that the worker reads the pages again
            file.seek(4096)
            file.write(os.urandom(size - 4096))

    return harm


def test_a_file_damaged_while_it_is_in_use_stops_the_worker_and_hangs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        said = await broken_worker(path, damage(path))
        assert str(path) in said
        assert "damaged" in said

    within(SECONDS, run)


def test_a_file_deleted_while_it_is_in_use_stops_the_worker_and_hangs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        said = await broken_worker(path, path.unlink)
        assert f"{path} was deleted, moved or replaced" in said

    within(SECONDS, run)


def test_an_idle_worker_notices_that_its_file_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        async with orchestrator(path) as working:
            worker = working.session.worker
            assert worker is not None
            path.rename(tmp_path / "old.db")
            async with asyncio.timeout(SECONDS):
                other = SqliteStore(path, "default")
                await other.open(work=False)
                await until(worker.failed.done)
                await other.close()
            assert "replaced while it was in use" in str(worker.failed.exception())

    within(SECONDS, run)


def test_a_client_that_waits_notices_that_the_file_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        client = orchestrator(path)
        async with client.client():
            handle = await client.start(echoes, "a", id="a")
            waiting = asyncio.create_task(handle.outcome())
            await asyncio.sleep(0)
            path.unlink()
            with pytest.raises(StoreDamaged, match="was deleted"):
                await waiting

    within(SECONDS, run)


def test_a_client_whose_file_was_deleted_hangs_in_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        client = orchestrator(path)
        async with client.client():
            await client.start(echoes, "a", id="a")
            path.unlink()
            for _ in range(2):
                with pytest.raises(StoreDamaged, match="was deleted"):
                    await client.start(echoes, "b", id="b")
            with pytest.raises(StoreDamaged, match="was deleted"):
                await client.cancel("a", reason="no")

    within(SECONDS, run)


# Somebody else's transaction


def test_a_long_transaction_of_another_process_is_waited_for_and_is_no_outcome(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        async with orchestrator(path) as working:
            await working.run(echoes, "before")
            with closing(sqlite3.connect(path, isolation_level=None)) as user:
                user.execute("BEGIN IMMEDIATE")
                starts = [asyncio.create_task(working.run(echoes, f"{n}", id=f"{n}")) for n in range(20)]
                done, _ = await asyncio.wait(starts, timeout=1.0)
                assert not done
                user.execute("COMMIT")
            assert await asyncio.gather(*starts) == [Completed(f"{n}") for n in range(20)]

    within(SECONDS, run)


def test_a_lock_that_outlasts_all_patience_is_a_clear_error_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> None:
        store = SqliteStore(path, "default")
        await store.open(work=True)
        worker = await store.register(INFO)
        await store.commit(worker, [new_saga("a", number_of(1), owner=worker)])
        with closing(sqlite3.connect(path, isolation_level=None)) as user:
            user.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailable, match=f"{path} is locked by a transaction of another"):
                await store.commit(worker, [next_row(number_of(1), 1)])
        assert await store.commit(worker, [next_row(number_of(1), 1)]) == [Fate.WRITTEN]
        await store.close()

    within(SECONDS, run)


def test_a_stopped_process_in_the_queue_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    child = Child("open", path, "client")
    child.line()
    turn = os.open(path.with_name(path.name + "-turn"), os.O_RDWR)
    try:
        import fcntl  # stands in for a process that was stopped while it had the turn

        fcntl.flock(turn, fcntl.LOCK_EX)

        async def run() -> None:
            store = SqliteStore(path, "default")
            await store.open(work=True)
            worker = await store.register(INFO)
            assert await store.commit(worker, [new_saga("a", number_of(1), owner=worker)]) == [Fate.WRITTEN]
            await store.close()

        within(SECONDS, run)
    finally:
        os.close(turn)
    child.tell()
    child.end()
