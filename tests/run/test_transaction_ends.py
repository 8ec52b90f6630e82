"""A step's transaction belongs to the step, and ends with it: nothing left behind writes in the next one's."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from engine import Order

from amends import Completed, Context, Orchestrator, Retry, Saga, Settings, step
from amends.errors import AmendsError

SOON = Retry(attempts=2, first_delay=0.01)
Use = Callable[[sqlite3.Connection], object]


def insert(tx: sqlite3.Connection) -> None:
    tx.execute("INSERT INTO booked VALUES ('left behind')")


def insert_many(tx: sqlite3.Connection) -> None:
    tx.executemany("INSERT INTO booked VALUES (?)", [("left behind",)])


def insert_by_cursor(tx: sqlite3.Connection) -> None:
    tx.cursor().execute("INSERT INTO booked VALUES ('left behind')")


def insert_many_by_cursor(tx: sqlite3.Connection) -> None:
    tx.cursor().executemany("INSERT INTO booked VALUES (?)", [("left behind",)])


class Desk:
    """A file with a table, and an orchestrator on it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sagas.db"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE booked (who TEXT)")

    @property
    def booked(self) -> list[str]:
        """What stands in the table."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT who FROM booked ORDER BY rowid")]

    def run(self, saga: Saga[Order, None]) -> Any:
        """The outcome of one run."""

        async def main() -> Any:
            async with Orchestrator(f"sqlite:///{self.path}", sagas=[saga]) as orchestrator:
                return await orchestrator.run(saga, Order(), id="one")

        return asyncio.run(main())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("use", [insert, insert_many, insert_by_cursor, insert_many_by_cursor])
def test_a_thread_that_a_cancelled_step_left_behind_writes_nothing_in_the_next_attempt(desk: Desk, use: Use) -> None:
    second, over = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    @step(retry=SOON, timeout=0.2)
    async def book(tx: sqlite3.Connection, ctx: Context) -> None:
        def work() -> None:
            second.wait(60)
            try:
                use(tx)
            except AmendsError as error:
                refused.append(error)
            over.set()

        if ctx.attempt == 1:
            await asyncio.to_thread(work)
        second.set()
        over.wait(60)
        tx.execute("INSERT INTO booked VALUES ('second')")

    @book.compensation
    async def unbook(tx: sqlite3.Connection) -> None: ...

    outcome = desk.run(Saga("saga", book, input=Order))

    assert outcome == Completed(None)
    assert desk.booked == ["second"]
    assert "after the step had ended" in str(refused[0])


def test_a_task_that_a_step_left_behind_writes_nothing_outside_its_transaction(desk: Desk) -> None:
    ended = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    @step
    async def book(tx: sqlite3.Connection) -> None:
        async def later() -> None:
            await ended.wait()
            insert(tx)

        tasks.append(asyncio.create_task(later()))

    @book.compensation
    async def unbook(tx: sqlite3.Connection) -> None: ...

    saga: Saga[Order, None] = Saga("saga", book, input=Order)

    async def main() -> Any:
        async with Orchestrator(f"sqlite:///{desk.path}", sagas=[saga]) as orchestrator:
            outcome = await orchestrator.run(saga, Order(), id="one")
            ended.set()
            with pytest.raises(AmendsError, match="after the step had ended"):
                await tasks[0]
            return outcome

    assert asyncio.run(main()) == Completed(None)
    assert desk.booked == []


def test_an_async_step_may_use_its_transaction_in_threads_and_tasks_of_its_own_while_it_runs(desk: Desk) -> None:
    @step
    async def book(tx: sqlite3.Connection) -> None:
        async def aside() -> None:
            tx.execute("INSERT INTO booked VALUES ('in a task')")

        await asyncio.to_thread(tx.execute, "INSERT INTO booked VALUES ('in a thread')")
        await asyncio.create_task(aside())

    @book.compensation
    async def unbook(tx: sqlite3.Connection) -> None: ...

    assert desk.run(Saga("saga", book, input=Order)) == Completed(None)
    assert desk.booked == ["in a thread", "in a task"]


def test_the_rows_of_a_steps_statements_are_made_as_the_step_wants_them(desk: Desk) -> None:
    kinds: list[type] = []

    @step
    def book(tx: sqlite3.Connection) -> None:
        tx.row_factory = sqlite3.Row
        kinds.append(type(tx.execute("SELECT 1 AS one").fetchone()))
        kinds.append(type(tx.cursor().execute("SELECT 1 AS one").fetchone()))

    @book.compensation
    def unbook(tx: sqlite3.Connection) -> None: ...

    assert desk.run(Saga("saga", book, input=Order)) == Completed(None)
    assert kinds == [sqlite3.Row, sqlite3.Row]


def test_a_transactional_step_that_never_returns_does_not_keep_the_worker(desk: Desk, tmp_path: Path) -> None:
    began, go = threading.Event(), threading.Event()

    @step(timeout=600)
    def book(tx: sqlite3.Connection) -> None:
        began.set()
        go.wait(120)

    @book.compensation
    def unbook(tx: sqlite3.Connection) -> None: ...

    saga: Saga[Order, None] = Saga("saga", book, input=Order)

    async def main() -> float:
        settings = Settings(drain_seconds=0.2)
        effects = f"sqlite:///{tmp_path}/effects.db"
        async with Orchestrator(
            f"sqlite:///{desk.path}", sagas=[saga], effects=effects, settings=settings
        ) as orchestrator:
            await orchestrator.start(saga, Order(), id="one")
            await asyncio.to_thread(began.wait, 60)
            left = time.monotonic()
        return time.monotonic() - left

    try:
        assert asyncio.run(main()) < 60
    finally:
        go.set()
