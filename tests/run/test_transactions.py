"""Steps that take a transaction: effect, inbox row and result commit together, or none does."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from engine import Order, state

from amends import Compensated, Completed, Context, Orchestrator, Park, Parked, Reject, Retry, Saga, pivot, step
from amends import fault as faults

SOON = Retry(attempts=4, first_delay=0.01)


@dataclass(frozen=True)
class Booking:
    """What a step wrote."""

    number: int


class Shop:
    """A file with a table `booked`, an orchestrator on it, and what its functions said."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sagas.db"
        self.said: list[str] = []
        self.sql("CREATE TABLE booked (who TEXT, cents INTEGER)")

    def sql(self, text: str, *values: object) -> list[Any]:
        """One statement, committed."""
        with sqlite3.connect(self.path, timeout=60) as connection:
            found = connection.execute(text, values).fetchall()
        connection.close()
        return found

    @property
    def booked(self) -> list[tuple[str, int]]:
        """What stands in the table."""
        return self.sql("SELECT who, cents FROM booked ORDER BY rowid")

    def orchestrator(self, saga: Saga[Any, Any], **options: Any) -> Orchestrator:
        """An orchestrator on the file."""
        return Orchestrator(f"sqlite:///{self.path}", sagas=[saga], **options)

    def run(self, saga: Saga[Order, Any], **options: Any) -> Any:
        """The outcome of one run."""

        async def main() -> Any:
            async with self.orchestrator(saga, **options) as orchestrator:
                return await orchestrator.run(saga, Order(), id="one")

        return asyncio.run(main())

    def saga(self, body: Any, *, refuse: bool = False, **options: Any) -> Saga[Order, None]:
        """A transactional step that inserts and calls `body(tx, ctx)`, its undo, a decision."""
        said = self.said

        @step(name="book", **{"retry": SOON, **options})
        def book(order: Order, tx: sqlite3.Connection, ctx: Context) -> Booking:
            said.append(f"book {ctx.attempt}")
            tx.execute("INSERT INTO booked VALUES (?, ?)", (ctx.saga_id, order.cents))
            body(tx, ctx)
            return Booking(ctx.attempt)

        @book.compensation(retry=SOON)
        def unbook(booking: Booking, tx: sqlite3.Connection, ctx: Context) -> None:
            said.append(f"unbook {booking.number}")
            tx.execute("INSERT INTO booked VALUES (?, -100)", (ctx.saga_id,))

        @step
        async def decide() -> None:
            if refuse:
                raise Reject("no")

        return Saga("saga", book, pivot(decide), input=Order)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A fresh shop."""
    return Shop(tmp_path)


def fine(tx: sqlite3.Connection, ctx: Context) -> None:
    """Nothing more."""


def test_the_effect_of_a_step_and_of_its_undo_commit_with_their_results(shop: Shop) -> None:
    outcome = shop.run(shop.saga(fine, refuse=True))

    assert outcome == Compensated("decide: no", "rejected", "decide")
    assert shop.booked == [("one", 100), ("one", -100)]
    assert shop.said == ["book 1", "unbook 1"], "the compensation gets the stored result"


@pytest.mark.parametrize(("point", "calls"), [("tx.before", 2), ("tx.after", 1), ("attempt.after", 1)])
def test_a_crash_around_the_commit_leaves_one_effect_and_finds_the_stored_result(
    shop: Shop, point: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = shop.saga(fine)

    class Crash(BaseException):
        pass

    def crash(name: str) -> None:
        if name == point:
            monkeypatch.setattr(faults, "hook", None)
            raise Crash

    async def first_life() -> None:
        orchestrator = shop.orchestrator(saga)
        await orchestrator._enter(work=True)
        monkeypatch.setattr(faults, "hook", crash)
        await orchestrator.start(saga, Order(), id="one")
        while faults.hook is not None:
            await asyncio.sleep(0.001)
        session = orchestrator.session
        assert session.worker is not None
        await session.worker.ownership.stop()
        session.worker._drop_all()
        await session.worker._close()
        await session.store.close()  # without draining: nothing is let go

    def quiet(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        assert isinstance(context.get("exception"), Crash)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(quiet)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(first_life())

    assert shop.run(saga) == Completed(None)
    assert shop.booked == [("one", 100)]
    assert shop.said == [f"book {number}" for number in range(1, calls + 1)]


def test_a_rejection_rolls_back_the_effect_and_is_final(shop: Shop) -> None:
    def reject(tx: sqlite3.Connection, ctx: Context) -> None:
        raise Reject("sold out")

    outcome = shop.run(shop.saga(reject))

    assert outcome == Compensated("book: sold out", "rejected", "book")
    assert shop.booked == []
    assert shop.said == ["book 1"]


def test_a_rejection_after_a_failed_attempt_is_sure_because_the_barrier_vouches(shop: Shop) -> None:
    def body(tx: sqlite3.Connection, ctx: Context) -> None:
        raise ConnectionError if ctx.attempt == 1 else Reject("sold out")

    outcome = shop.run(shop.saga(body))

    assert outcome == Compensated("book: sold out", "rejected", "book")
    assert shop.said == ["book 1", "book 2"]


@pytest.mark.parametrize("error", [ValueError("bug"), Park("person"), SystemExit(1)], ids=["error", "park", "exit"])
def test_whatever_a_step_raises_rolls_back_all_it_did(shop: Shop, error: BaseException) -> None:
    def body(tx: sqlite3.Connection, ctx: Context) -> None:
        raise error

    outcome = shop.run(shop.saga(body))

    assert isinstance(outcome, Parked if isinstance(error, Park) else Compensated)
    assert shop.booked == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (lambda tx, ctx: tx.commit(), "take the commit"),
        (lambda tx, ctx: tx.rollback(), "take the rollback"),
        (lambda tx, ctx: tx.executescript("SELECT 1"), "executescript"),
    ],
    ids=["commit", "rollback", "executescript"],
)
def test_a_step_cannot_end_its_transaction(shop: Shop, body: Any, word: str) -> None:
    outcome = shop.run(shop.saga(body))

    assert isinstance(outcome, Compensated)
    assert word in outcome.reason
    assert shop.booked == []


@pytest.mark.parametrize("statements", [["COMMIT"], ["ROLLBACK"], ["RELEASE step"], ["COMMIT", "BEGIN"]], ids="+".join)
@pytest.mark.parametrize("rejecting", [False, True])
def test_a_step_that_ends_its_transaction_behind_our_back_goes_to_a_person(
    shop: Shop, statements: list[str], rejecting: bool
) -> None:
    def body(tx: sqlite3.Connection, ctx: Context) -> None:
        for statement in statements:
            tx.execute(statement)
        if rejecting:
            raise Reject("no")

    outcome = shop.run(shop.saga(body))

    assert isinstance(outcome, Parked)
    assert "ended its transaction itself" in outcome.reason
    assert shop.said == ["book 1"]


def test_a_busy_file_is_never_an_outcome(shop: Shop) -> None:
    saga = shop.saga(fine, retry=Retry(attempts=1))

    async def main() -> Any:
        async with shop.orchestrator(saga) as orchestrator:
            mine = sqlite3.connect(shop.path, isolation_level=None)
            mine.execute("BEGIN IMMEDIATE")
            running = asyncio.create_task(orchestrator.run(saga, Order(), id="one"))
            await asyncio.sleep(6)  # longer than SQLite itself waits
            mine.execute("COMMIT")
            mine.close()
            return await running

    assert asyncio.run(main()) == Completed(None)
    assert shop.said == ["book 1"]


def test_a_timeout_interrupts_the_statement_that_runs(shop: Shop) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    def body(tx: sqlite3.Connection, ctx: Context) -> None:
        if ctx.attempt == 1:
            tx.execute(endless).fetchall()

    began = time.monotonic()
    outcome = shop.run(shop.saga(body, timeout=0.2))

    assert outcome == Completed(None)
    assert time.monotonic() - began < 30
    assert shop.said == ["book 1", "book 2"]
    assert shop.booked == [("one", 100)]


def test_an_async_step_takes_a_transaction_too(shop: Shop) -> None:
    @step
    async def book(order: Order, tx: sqlite3.Connection, ctx: Context) -> None:
        tx.execute("INSERT INTO booked VALUES (?, ?)", (ctx.saga_id, order.cents))
        await asyncio.sleep(0)
        if ctx.attempt == 1:
            raise ConnectionError

    @book.compensation
    async def unbook(tx: sqlite3.Connection) -> None: ...

    outcome = shop.run(Saga("saga", book, input=Order))

    assert outcome == Completed(None)
    assert shop.booked == [("one", 100)]


def test_around_is_entered_around_transactional_steps_and_sees_what_they_raise(shop: Shop) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def watching(ctx: Context) -> AsyncIterator[None]:
        if ctx.address == "book":
            seen.append("in")
        try:
            yield
        except Exception as error:  # noqa: BLE001  # it swallows it, which must not help
            seen.append(type(error).__name__)

    def body(tx: sqlite3.Connection, ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ConnectionError

    outcome = shop.run(shop.saga(body), around=[watching])

    assert outcome == Completed(None)
    assert seen == ["in", "ConnectionError", "in"]
    assert shop.booked == [("one", 100)]


def test_around_that_raises_keeps_a_transactional_step_from_being_made(shop: Shop) -> None:
    @asynccontextmanager
    async def failing(ctx: Context) -> AsyncIterator[None]:
        if ctx.address == "book" and ctx.attempt == 1:
            raise ConnectionError("away")
        yield

    outcome = shop.run(shop.saga(fine), around=[failing])

    assert outcome == Completed(None)
    assert shop.said == ["book 2"]


def test_a_result_that_cannot_be_stored_rolls_back(shop: Shop) -> None:
    @step
    def book(tx: sqlite3.Connection) -> int:
        tx.execute("INSERT INTO booked VALUES ('one', 1)")
        return "text"  # type: ignore[return-value]  # that is the point

    @book.compensation
    def unbook(booking: int | None, tx: sqlite3.Connection) -> None: ...

    outcome = shop.run(Saga("saga", book, input=Order))

    assert isinstance(outcome, Compensated)
    assert "the result of book" in outcome.reason
    assert shop.booked == []


def test_effects_may_be_in_a_file_of_their_own(shop: Shop, tmp_path: Path) -> None:
    tmp_path.joinpath("other").mkdir()
    other = Shop(tmp_path / "other")
    saga = shop.saga(fine)

    outcome = shop.run(saga, effects=f"sqlite:///{other.path}")

    assert outcome == Completed(None)
    assert (shop.booked, other.booked) == ([], [("one", 100)])


def test_a_retry_in_a_new_round_is_a_new_effect_under_a_new_key(shop: Shop) -> None:
    said: list[tuple[int, str]] = []

    @step
    async def first() -> None: ...

    @step
    def book(order: Order, tx: sqlite3.Connection, ctx: Context) -> None:
        said.append((ctx.round, ctx.key))
        tx.execute("INSERT INTO booked VALUES (?, ?)", (ctx.saga_id, order.cents))
        if ctx.round == 1:
            raise Reject("not yet")

    saga = Saga("saga", pivot(first), book, input=Order)

    async def main() -> Any:
        async with shop.orchestrator(saga) as orchestrator:
            parked = await orchestrator.run(saga, Order(), id="one")
            assert isinstance(parked, Parked)
            await orchestrator.session.act("one", "retry", "book", actor="ann", reason="now", result=None)
            outcome = await orchestrator.handle(saga, "one").outcome()
            assert (await state(orchestrator, "one")).step("book").round == 2
            return outcome

    assert asyncio.run(main()) == Completed(None)
    assert [round_ for round_, _ in said] == [1, 2]
    assert said[0][1] != said[1][1]
    assert shop.booked == [("one", 100)]


def test_a_transactional_step_without_a_database_for_it_says_so(shop: Shop) -> None:
    from amends.errors import DefinitionError
    from amends.store.memory import MemoryStore

    saga = shop.saga(fine)
    orchestrator = Orchestrator(MemoryStore(), sagas=[saga])
    orchestrator.config = replace(orchestrator.config, effects=None)

    async def main() -> None:
        async with orchestrator:
            pass

    with pytest.raises(DefinitionError, match="give effects="):
        asyncio.run(main())
