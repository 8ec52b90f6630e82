"""`within=`: a saga that exists if and only if the user's own sqlite3 transaction commits."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from amends import Completed, Orchestrator, Saga, Settings, step, wait_for
from amends.errors import IdConflict, NotEnlisted, StoreUnavailable, UnknownSaga
from amends.store.sqlite import SqliteStore

SECONDS = 60.0


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


doubles = Saga("doubles", double, input=int, output=double)
answer = wait_for("answer", str)
asks = Saga("asks", answer, input=int, output=answer)
others = Saga("others", double, input=int, output=double)


def orchestrator(path: Path) -> Orchestrator:
    return Orchestrator(path, sagas=[doubles, asks, others], settings=Settings(poll_seconds=0.05))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The user's own file, with a table of the user's own."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE invoice (id TEXT PRIMARY KEY)")
    return tmp_path / "shop.db"


@pytest.fixture
def user(path: Path) -> Iterator[sqlite3.Connection]:
    """The user's own connection, as sqlite3 gives it by default."""
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def run(path: Path, play: Callable[[Orchestrator], Any], *, work: bool = True) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            built = orchestrator(path)
            async with built if work else built.client():
                await play(built)

    asyncio.run(main())


def test_the_saga_runs_once_the_transaction_commits(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("INSERT INTO invoice VALUES ('i-1')")
        handle = await working.start(doubles, 21, id="a", within=user)
        user.commit()

        assert await handle.outcome() == Completed(42)

    run(path, play)


def test_a_rollback_leaves_nothing_of_it(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("INSERT INTO invoice VALUES ('i-1')")
        handle = await working.start(doubles, 21, id="a", within=user)
        user.rollback()

        with pytest.raises(UnknownSaga):
            await handle.outcome()
        assert await working.run(doubles, 4, id="a") == Completed(8)  # the id is free

    run(path, play)


def test_a_saga_is_invisible_to_the_worker_until_the_commit(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("BEGIN IMMEDIATE")
        await working.start(doubles, 21, id="a", within=user)

        assert await working.session.store.head("a") is None
        assert not (await working.session.store.peek()).due
        user.commit()
        assert (await working.session.store.head("a")) is not None

    run(path, play)


def test_outside_a_transaction_it_is_refused(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        with pytest.raises(NotEnlisted, match="begin one"):
            await working.start(doubles, 21, id="a", within=user)
        assert await working.session.store.head("a") is None

    run(path, play)


def test_after_a_commit_the_connection_is_outside_again(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("BEGIN")
        user.commit()
        with pytest.raises(NotEnlisted):
            await working.start(doubles, 21, within=user)

    run(path, play)


@pytest.mark.parametrize("place", [":memory:", "other.db"])
def test_a_connection_on_another_database_is_refused(path: Path, tmp_path: Path, place: str) -> None:
    async def play(working: Orchestrator) -> None:
        name = place if place == ":memory:" else str(tmp_path / place)
        with closing(sqlite3.connect(name)) as other:
            other.execute("BEGIN")
            with pytest.raises(NotEnlisted, match=str(path)):
                await working.start(doubles, 21, within=other)

    run(path, play)


def test_a_file_that_is_only_attached_is_refused(path: Path) -> None:
    async def play(working: Orchestrator) -> None:
        with closing(sqlite3.connect(":memory:")) as other:
            other.execute("ATTACH ? AS shop", (str(path),))
            other.execute("BEGIN")
            with pytest.raises(NotEnlisted):
                await working.start(doubles, 21, within=other)

    run(path, play)


def test_a_link_to_the_file_is_the_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)

    async def play(working: Orchestrator) -> None:
        with closing(sqlite3.connect(tmp_path / "link.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            handle = await working.start(doubles, 3, within=other)
            other.commit()
        assert await handle.outcome() == Completed(6)

    run(path, play)


@pytest.mark.parametrize("level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", None])
def test_every_isolation_level_of_sqlite3_will_do(path: Path, level: Any) -> None:
    async def play(working: Orchestrator) -> None:
        with closing(sqlite3.connect(path, isolation_level=level)) as connection:
            connection.execute("BEGIN IMMEDIATE" if level is None else "INSERT INTO invoice VALUES ('i')")
            handle = await working.start(doubles, 5, within=connection)
            assert connection.in_transaction
            connection.commit()
        assert await handle.outcome() == Completed(10)

    run(path, play)


def as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize("factory", [sqlite3.Row, as_dict], ids=["Row", "dict"])
@pytest.mark.parametrize("text", [str, bytes], ids=["str", "bytes"])
def test_the_users_row_and_text_factories_are_left_alone(path: Path, factory: Any, text: Any) -> None:
    async def play(working: Orchestrator) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory, connection.text_factory = factory, text
            connection.execute("BEGIN IMMEDIATE")
            await working.start(doubles, 5, id="a", within=connection)
            again = await working.start(doubles, 5, id="a", within=connection)
            with pytest.raises(IdConflict):
                await working.start(doubles, 6, id="a", within=connection)
            assert (connection.row_factory, connection.text_factory) == (factory, text)
            connection.commit()
        assert await again.outcome() == Completed(10)

    run(path, play)


def test_the_same_id_with_other_input_is_refused_and_the_transaction_lives(
    path: Path, user: sqlite3.Connection
) -> None:
    async def play(working: Orchestrator) -> None:
        await working.run(doubles, 1, id="a")
        user.execute("INSERT INTO invoice VALUES ('i-1')")

        with pytest.raises(IdConflict, match="another input"):
            await working.start(doubles, 2, id="a", within=user)
        with pytest.raises(IdConflict, match="doubles"):
            await working.start(others, 1, id="a", within=user)
        same = await working.start(doubles, 1, id="a", within=user)
        new = await working.start(doubles, 2, id="b", within=user)
        user.commit()

        assert [await same.outcome(), await new.outcome()] == [Completed(2), Completed(4)]
        assert user.execute("SELECT id FROM invoice").fetchall() == [("i-1",)]

    run(path, play)


def test_two_starts_with_one_id_in_one_transaction_are_one_saga(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("BEGIN IMMEDIATE")
        await working.start(doubles, 1, id="a", within=user)
        await working.start(doubles, 1, id="a", within=user)
        user.commit()

        assert sum((await working.session.store.count()).values()) == 1

    run(path, play)


def test_a_start_that_fails_halfway_leaves_nothing_in_a_transaction_that_is_committed_all_the_same(
    path: Path, user: sqlite3.Connection
) -> None:
    def deny(action: int, table: str | None, *_: object) -> int:
        journal = action == sqlite3.SQLITE_INSERT and table == "amends_journal"
        return sqlite3.SQLITE_DENY if journal else sqlite3.SQLITE_OK

    async def play(working: Orchestrator) -> None:
        user.execute("INSERT INTO invoice VALUES ('i-1')")
        user.set_authorizer(deny)

        with pytest.raises((StoreUnavailable, sqlite3.DatabaseError)):
            await working.start(doubles, 1, id="a", within=user)
        user.set_authorizer(None)
        user.commit()

        assert user.execute("SELECT key FROM amends_saga").fetchall() == []
        assert user.execute("SELECT id FROM invoice").fetchall() == [("i-1",)]

    run(path, play)


def test_a_savepoint_rolled_back_takes_the_saga_along(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("BEGIN IMMEDIATE")
        user.execute("SAVEPOINT one")
        await working.start(doubles, 1, id="gone", within=user)
        user.execute("ROLLBACK TO one")
        await working.start(doubles, 1, id="kept", within=user)
        user.commit()

        assert await working.session.store.head("gone") is None
        assert await working.session.store.head("kept") is not None

    run(path, play)


def test_a_signal_counts_if_and_only_if_the_transaction_commits(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        handle = await working.start(asks, 1, id="a")
        user.execute("BEGIN IMMEDIATE")
        await working.signal("a", answer, "rolled back", id="m", within=user)
        user.rollback()
        assert await working.session.store.sent("a", "m") is None

        user.execute("BEGIN IMMEDIATE")
        await working.signal("a", answer, "committed", id="m", within=user)
        await working.signal("a", answer, "the same again", id="m", within=user)
        user.commit()

        assert await handle.outcome() == Completed("committed")

    run(path, play)


def test_a_signal_to_nobody_is_refused_and_the_transaction_lives(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnknownSaga):
            await working.signal("nobody", answer, "x", within=user)
        assert user.in_transaction
        user.rollback()

    run(path, play)


def test_a_saga_started_and_signalled_in_one_transaction_gets_its_signal(path: Path, user: sqlite3.Connection) -> None:
    async def play(working: Orchestrator) -> None:
        user.execute("BEGIN IMMEDIATE")
        handle = await working.start(asks, 1, id="a", within=user)
        await working.signal("a", answer, "at once", within=user)
        user.commit()

        assert await handle.outcome() == Completed("at once")

    run(path, play)


def test_a_client_enlists_as_a_worker_does(path: Path, user: sqlite3.Connection) -> None:
    async def play(client: Orchestrator) -> None:
        user.execute("BEGIN IMMEDIATE")
        handle = await client.start(doubles, 21, within=user)
        user.commit()
        async with orchestrator(path):
            assert await handle.outcome() == Completed(42)

    run(path, play, work=False)


def test_what_is_no_sqlite3_connection_is_named(path: Path) -> None:
    async def play(working: Orchestrator) -> None:
        with pytest.raises(NotEnlisted, match=r"within=builtins\.dict.*sqlite3\.Connection is expected"):
            await working.start(doubles, 21, within={})

    run(path, play)


def test_a_transaction_that_cannot_write_says_how_to_begin_one_that_can(path: Path) -> None:
    async def play(working: Orchestrator) -> None:
        with closing(sqlite3.connect(path, timeout=0.05, isolation_level=None)) as late:
            late.execute("BEGIN")
            late.execute("SELECT * FROM invoice").fetchall()
            with closing(sqlite3.connect(path, isolation_level=None)) as first:
                first.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailable, match="BEGIN IMMEDIATE"):
                    await working.start(doubles, 1, within=late)
                late.execute("ROLLBACK")
                first.execute("COMMIT")

    run(path, play)


def test_it_is_written_on_the_thread_that_calls(path: Path) -> None:
    store = SqliteStore(path, "default")
    caught: list[BaseException] = []

    async def main() -> None:
        await store.open(work=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN")

            def elsewhere() -> None:
                try:
                    store.join(connection)
                except BaseException as error:  # noqa: BLE001  # looked at below
                    caught.append(error)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
        await store.close()

    asyncio.run(main())
    assert len(caught) == 1
    assert isinstance(caught[0], sqlite3.ProgrammingError | NotEnlisted)
