"""Steps that take a transaction on PostgreSQL: the same rules for every library."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from engine import Order
from tx_kinds import KINDS, OWN, Desk, Sql, nothing

from amends import Compensated, Completed, Context, Park, Parked, Reject, Retry, Settings
from amends import fault as faults
from amends.store import effects_postgres

ONCE = Retry(attempts=1)
RUNNING = """
SELECT query FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep%'
"""
NOT_AGAIN = Retry(never=(Exception,))


@pytest.fixture(params=KINDS, ids=repr)
def desk(request: pytest.FixtureRequest, postgres_url: str) -> Desk:
    """A database for every kind of transaction, the sagas' own and given ones."""
    return Desk(postgres_url, request.param)


@pytest.fixture(params=OWN, ids=repr)
def own(request: pytest.FixtureRequest, postgres_url: str) -> Desk:
    """The same, for every library once."""
    return Desk(postgres_url, request.param)


def test_the_effect_of_a_step_and_of_its_undo_commit_with_their_results(desk: Desk) -> None:
    outcome = desk.run(desk.saga(nothing, refuse=True))

    assert outcome == Compensated("decide: no", "rejected", "decide")
    assert desk.booked == [("one", 100), ("one", -100)]
    assert desk.said == ["book 1", "unbook 1"], "the compensation gets the stored result"
    assert desk.inbox == [("book", 1, "succeeded", True)]


@pytest.mark.parametrize("point", ["tx.before", "tx.after", "attempt.after"])
def test_a_crash_around_the_commit_leaves_one_effect_and_finds_the_stored_result(
    own: Desk, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = own.saga(nothing)

    class Crash(BaseException):
        pass

    def crash(name: str) -> None:
        if name == point:
            monkeypatch.setattr(faults, "hook", None)
            raise Crash

    async def first_life() -> None:
        async with own.working(saga, settings=Settings(drain_seconds=0.1, lease_seconds=1)) as orchestrator:
            monkeypatch.setattr(faults, "hook", crash)
            await orchestrator.start(saga, Order(), id="one")
            while faults.hook is not None:
                await asyncio.sleep(0.001)

    def quiet(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        assert isinstance(context.get("exception"), Crash)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(quiet)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(first_life())

    assert own.run(saga, settings=Settings(lease_seconds=1)) == Completed(None)
    assert own.booked == [("one", 100)]
    assert len(own.said) == (2 if point == "tx.before" else 1)


def test_a_rejection_rolls_back_the_effect_and_is_final(desk: Desk) -> None:
    async def reject(sql: Sql, ctx: Context) -> None:
        raise ConnectionError if ctx.attempt == 1 else Reject("sold out")

    outcome = desk.run(desk.saga(reject))

    assert outcome == Compensated("book: sold out", "rejected", "book")
    assert desk.booked == []
    assert desk.said == ["book 1", "book 2"], "the barrier vouches for it, so there is nothing to undo"
    assert desk.inbox == [("book", 1, "rejected", False)]


@pytest.mark.parametrize("error", [ValueError("bug"), Park("person"), SystemExit(1)], ids=["error", "park", "exit"])
def test_whatever_a_step_raises_rolls_back_all_it_did(own: Desk, error: BaseException) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        raise error

    outcome = own.run(own.saga(body))

    assert isinstance(outcome, Parked if isinstance(error, Park) else Compensated)
    assert own.booked == []


def test_a_step_that_ends_its_transaction_behind_our_back_goes_to_a_person_who_may_try_again(desk: Desk) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        if len(desk.said) == 1:
            await sql("COMMIT")

    saga = desk.saga(body)

    async def main() -> Any:
        async with desk.working(saga) as orchestrator:
            parked = await orchestrator.run(saga, Order(), id="one")
            await orchestrator.session.act("one", "retry", "book", actor="ann", reason="mended", result=None)
            return parked, await orchestrator.handle(saga, "one").outcome()

    parked, outcome = asyncio.run(main())

    assert isinstance(parked, Parked)
    assert "ended its transaction itself" in parked.reason
    assert outcome == Completed(None)
    assert desk.booked == [("one", 100), ("one", 100)], "what it has committed stays, and a person was asked"


def test_a_step_that_commits_and_loses_its_connection_is_found_out_by_the_row_it_left(own: Desk) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        await sql("COMMIT")
        await sql("SELECT pg_terminate_backend(pg_backend_pid())")

    outcome = own.run(own.saga(body))

    assert isinstance(outcome, Parked)
    assert "ended its transaction itself" in outcome.reason
    assert own.said == ["book 1"]


@pytest.mark.parametrize("rejecting", [False, True])
def test_a_rollback_of_its_own_is_found_out_too(own: Desk, rejecting: bool) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        await sql("ROLLBACK")
        if rejecting:
            raise Reject("no")

    outcome = own.run(own.saga(body))

    assert isinstance(outcome, Parked)
    assert "ended its transaction itself" in outcome.reason


def test_a_lost_connection_is_never_an_outcome(desk: Desk) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        if len(desk.said) == 1:
            await sql("SELECT pg_terminate_backend(pg_backend_pid())")

    outcome = desk.run(desk.saga(body, retry=ONCE))

    assert outcome == Completed(None)
    assert desk.said == ["book 1", "book 1"]
    assert desk.booked == [("one", 100)]


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "57P01", "53200"])
def test_what_passes_is_never_an_outcome(own: Desk, code: str) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        if len(own.said) == 1:
            await sql(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    outcome = own.run(own.saga(body, retry=NOT_AGAIN))

    assert outcome == Completed(None)
    assert own.said == ["book 1", "book 1"]
    assert own.booked == [("one", 100)]


def test_a_statement_that_failed_and_was_not_told_fails_the_attempt(own: Desk) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        if ctx.attempt == 1:
            try:
                await sql("SELECT 1 / 0")
            except Exception:  # noqa: BLE001  # that is the point
                return

    outcome = own.run(own.saga(body))

    assert outcome == Completed(None)
    assert own.said == ["book 1", "book 2"]
    assert own.booked == [("one", 100)]


def test_a_deferred_constraint_fails_the_attempt_and_not_the_commit(own: Desk) -> None:
    own.sql("CREATE TABLE public.single (one integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    async def body(sql: Sql, ctx: Context) -> None:
        if ctx.attempt == 1:
            await sql("INSERT INTO public.single VALUES (1), (1)")

    outcome = own.run(own.saga(body))

    assert outcome == Completed(None)
    assert own.said == ["book 1", "book 2"]
    assert own.booked == [("one", 100)]


def test_a_commit_that_the_server_refuses_fails_the_attempt(own: Desk) -> None:
    own.sql(
        """
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.cents = 7 THEN RAISE EXCEPTION 'not seven'; END IF; RETURN NULL; END $$
        """
    )
    own.sql(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.booked DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )

    async def body(sql: Sql, ctx: Context) -> None:
        if ctx.attempt == 1:
            await sql("INSERT INTO public.booked (who, cents) VALUES ('one', 7)")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects_postgres, "KEEP", effects_postgres.KEEP[1:])  # whatever fails in the COMMIT itself
        outcome = own.run(own.saga(body))

    assert outcome == Completed(None)
    assert own.said == ["book 1", "book 2"]
    assert own.booked == [("one", 100)]


def test_a_timeout_stops_the_statement_that_runs(desk: Desk) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        if ctx.attempt == 1:
            await sql("SELECT pg_sleep(600)")

    outcome = desk.run(desk.saga(body, timeout=1))

    assert outcome == Completed(None)
    assert desk.said == ["book 1", "book 2"]
    assert desk.booked == [("one", 100)]
    assert desk.sql(RUNNING) == []


def test_what_a_step_left_behind_writes_nothing(own: Desk) -> None:
    kept: list[Sql] = []

    async def body(sql: Sql, ctx: Context) -> None:
        kept.append(sql)

    saga = own.saga(body)

    async def main() -> None:
        async with own.working(saga) as orchestrator:
            for name in ("one", "two"):
                await orchestrator.run(saga, Order(), id=name)
                with pytest.raises(Exception, match=r".+"):
                    await kept[0]("INSERT INTO public.booked (who, cents) VALUES ('left behind', 1)")

    asyncio.run(main())

    assert own.booked == [("one", 100), ("two", 100)]


def test_many_steps_have_their_transactions_at_once(own: Desk) -> None:
    met = threading.Barrier(4)

    async def body(sql: Sql, ctx: Context) -> None:
        if own.kind.is_async:
            await asyncio.to_thread(met.wait, 60)
        else:
            met.wait(60)

    outcomes = own.run(own.saga(body, timeout=60), "one", "two", "three", "four")

    assert outcomes == [Completed(None)] * 4
    assert len(own.booked) == 4


def test_a_result_that_cannot_be_kept_is_no_trouble_for_the_text_of_a_rejection(own: Desk) -> None:
    async def body(sql: Sql, ctx: Context) -> None:
        raise Reject("a \0 and a \ud800")

    outcome = own.run(own.saga(body))

    assert isinstance(outcome, Compensated)
    assert outcome.cause == "rejected"
