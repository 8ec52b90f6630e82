"""`within=` on SQLite with what SQLAlchemy and Django make of sqlite3."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from amends import Completed, Orchestrator, Saga, Settings, step, wait_for
from amends.errors import IdConflict, NotEnlisted, StoreUnavailable

SECONDS = 60.0


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


doubles = Saga("doubles", double, input=int, output=double)
answer = wait_for("answer", str)
asks = Saga("asks", answer, input=int, output=answer)
Play = Callable[[Orchestrator], Awaitable[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The user's own file, with a table of the user's own."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE invoice (id TEXT PRIMARY KEY)")
    return tmp_path / "shop.db"


@pytest.fixture
def engine(path: Path) -> Iterator[sa.Engine]:
    """The user's engine."""
    made = sa.create_engine(f"sqlite:///{path}")
    yield made
    made.dispose()


def run(path: Path, play: Play) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            built = Orchestrator(path, sagas=[doubles, asks], settings=Settings(poll_seconds=0.05))
            async with built:
                await play(built)

    asyncio.run(main())


def invoices(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM invoice").fetchone()[0])


def begin_by_hand(engine: sa.Engine) -> None:
    """The way to real transactions that SQLAlchemy's manual shows."""
    sa.event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


@pytest.mark.parametrize("by_hand", [False, True], ids=["as it comes", "with BEGIN"])
@pytest.mark.parametrize("kind", ["connection", "session", "scoped"])
def test_it_exists_if_and_only_if_sqlalchemys_transaction_commits(
    path: Path, engine: sa.Engine, kind: str, by_hand: bool
) -> None:
    if by_hand:
        begin_by_hand(engine)
    makers: dict[str, Callable[[], Any]] = {
        "connection": engine.connect,
        "session": lambda: Session(engine),
        "scoped": lambda: scoped_session(sessionmaker(engine)),
    }

    async def play(working: Orchestrator) -> None:
        user = makers[kind]()
        await working.start(doubles, 1, id="gone", within=user)
        user.execute(sa.text("INSERT INTO invoice VALUES ('i-1')"))
        user.rollback()
        kept = await working.start(doubles, 2, id="kept", within=user)
        with pytest.raises(IdConflict):
            await working.start(doubles, 3, id="kept", within=user)
        user.execute(sa.text("INSERT INTO invoice VALUES ('i-2')"))
        user.commit()
        user.close()

        assert await kept.outcome() == Completed(4)
        assert await working.session.store.head("gone") is None

    run(path, play)
    assert invoices(path) == 1


def test_a_signal_counts_if_and_only_if_sqlalchemys_transaction_commits(path: Path, engine: sa.Engine) -> None:
    async def play(working: Orchestrator) -> None:
        handle = await working.start(asks, 1, id="a")
        with engine.connect() as user:
            await working.signal("a", answer, "rolled back", within=user)
            user.rollback()
        with engine.begin() as user:
            await working.signal("a", answer, "committed", within=user)

        assert await handle.outcome() == Completed("committed")

    run(path, play)


def test_the_worker_hears_of_sqlalchemys_commit_whenever_it_comes(
    path: Path, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(working: Orchestrator) -> None:
        said = asyncio.Event()
        monkeypatch.setattr(working.session.store, "hint", lambda keys, *, work: said.set() if work else None)
        with Session(engine) as user:
            await working.start(doubles, 2, within=user)
            assert not working.session._hints_due, "nothing is said for luck"
            assert not said.is_set()
            user.commit()
        await said.wait()

    run(path, play)


def test_sqlalchemy_in_autocommit_mode_is_refused(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")

    async def play(working: Orchestrator) -> None:
        with engine.connect() as user, pytest.raises(NotEnlisted, match="in no transaction"):
            await working.start(doubles, 1, id="a", within=user)
        assert await working.session.store.head("a") is None

    run(path, play)
    engine.dispose()


def test_sqlalchemy_on_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")

    async def play(working: Orchestrator) -> None:
        with engine.connect() as user, pytest.raises(NotEnlisted, match=str(path)):
            await working.start(doubles, 1, within=user)

    run(path, play)
    engine.dispose()


def test_what_is_asynchronous_is_refused(path: Path) -> None:
    async def play(working: Orchestrator) -> None:
        with pytest.raises(NotEnlisted, match=r"asynchronous.*sqlite3\.Connection is expected"):
            await working.start(doubles, 1, within=AsyncSession())

    run(path, play)


def test_a_file_that_is_busy_is_told_as_that(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.05})

    async def play(working: Orchestrator) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as first:
            first.execute("BEGIN IMMEDIATE")
            with engine.connect() as user, pytest.raises(StoreUnavailable, match="locked"):
                await working.start(doubles, 1, within=user)
            first.execute("ROLLBACK")

    run(path, play)
    engine.dispose()
