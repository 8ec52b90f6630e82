"""Steps with a transaction on PostgreSQL when clients stand still and lines are cut; and what is refused at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from engine import Order
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncConnection
from tx_kinds import BOOK, OWN, Desk, Sql, TxKind, nothing

from amends import Compensated, Completed, Context, Orchestrator, Parked, Reject, Retry, Saga, pivot, step
from amends.errors import DefinitionError, SchemaMismatch
from amends.run.effects import upgrade_effects, upgrade_inbox
from amends.store.sqlite import SqliteStore
from services.proxy import Proxy

ASYNCPG, PSYCOPG = OWN[0], OWN[1]
HELD = "SELECT 1 FROM pg_locks WHERE relation = 'amends.inbox'::regclass AND pid <> pg_backend_pid()"


def away(url: str, kind: TxKind, through: str) -> Desk:
    """A desk whose effects are reached through a proxy."""
    return Desk(url, replace(kind, effects=lambda _: through))


@pytest.mark.parametrize("kind", OWN, ids=repr)
def test_a_commit_whose_answer_was_lost_is_settled_by_the_inbox(postgres_url: str, kind: TxKind) -> None:
    with Proxy(postgres_url) as proxy:
        desk = away(postgres_url, kind, proxy.url(postgres_url))

        async def body(sql: Sql, ctx: Context) -> None:
            if len(desk.said) == 1:
                traps.append(proxy.swallow_next(b"COMMIT"))

        traps: list[Any] = []
        outcome = desk.run(desk.saga(body, retry=Retry(attempts=1)))

        assert traps[0].sprung
        assert outcome == Completed(None)
        assert desk.said == ["book 1"], "the stored result was found"
        assert desk.booked == [("one", 100)]


@pytest.mark.parametrize("kind", OWN[:3], ids=repr)
def test_behind_a_transaction_pooler_it_is_the_same(postgres_url: str, pgbouncer_url: str, kind: TxKind) -> None:
    desk = away(postgres_url, kind, pgbouncer_url)

    async def body(sql: Sql, ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ConnectionError

    outcomes = desk.run(desk.saga(body, refuse=True), *"abcdef")

    assert all(isinstance(outcome, Compensated) for outcome in outcomes)
    assert sorted(desk.booked) == sorted([(id_, cents) for id_ in "abcdef" for cents in (100, -100)])


@pytest.mark.parametrize("kind", [ASYNCPG, PSYCOPG], ids=repr)
def test_a_commit_that_never_arrived_is_tried_again(postgres_url: str, kind: TxKind) -> None:
    with Proxy(postgres_url) as proxy:
        desk = away(postgres_url, kind, proxy.url(postgres_url))

        async def body(sql: Sql, ctx: Context) -> None:
            if len(desk.said) == 1:
                proxy.lose_next(b"COMMIT")

        outcome = desk.run(desk.saga(body, retry=Retry(attempts=1)))

        assert outcome == Completed(None)
        assert desk.said == ["book 1", "book 1"]
        assert desk.booked == [("one", 100)]


def test_a_step_that_stands_still_past_its_timeout_loses_its_transaction_and_that_is_a_failed_attempt(
    postgres_url: str,
) -> None:
    desk = Desk(postgres_url, PSYCOPG)
    free: list[bool] = []

    async def body(sql: Sql, ctx: Context) -> None:
        if ctx.attempt > 1:
            return
        until = time.monotonic() + 60
        while not free and time.monotonic() < until:  # as a process that was stopped: nothing of it is cancelled
            if not desk.sql(HELD):
                free.append(True)

    outcome = desk.run(desk.saga(body, timeout=2))

    assert free, "the server has ended its session while it stood still"
    assert outcome == Completed(None)
    assert desk.said == ["book 1", "book 2"]
    assert desk.booked == [("one", 100)]


def test_a_compensation_that_is_rejected_is_not_stored_and_runs_again_at_a_persons_word(postgres_url: str) -> None:
    desk = Desk(postgres_url, ASYNCPG)

    async def undo(sql: Sql, ctx: Context) -> None:
        if sum(said.startswith("unbook") for said in desk.said) == 1:
            raise Reject("not now")

    saga = desk.saga(nothing, refuse=True, undo=undo)

    async def main() -> Any:
        async with desk.working(saga) as orchestrator:
            parked = await orchestrator.run(saga, Order(), id="one")
            assert desk.inbox == [("book", 1, "succeeded", False)]
            await orchestrator.session.act("one", "retry", "book", actor="ann", reason="now", result=None)
            return parked, await orchestrator.handle(saga, "one").outcome()

    parked, outcome = asyncio.run(main())

    assert isinstance(parked, Parked)
    assert isinstance(outcome, Compensated)
    assert desk.booked == [("one", 100), ("one", -100)]


def test_a_new_round_is_a_new_effect_and_buries_nothing_that_was(postgres_url: str) -> None:
    desk = Desk(postgres_url, ASYNCPG)

    @step
    async def first() -> None: ...

    @step
    async def book(order: Order, tx: asyncpg.Connection, ctx: Context) -> None:
        await tx.execute(BOOK.format(ctx.saga_id, ctx.round))
        if ctx.round == 1:
            raise Reject("not yet")

    saga = Saga("saga", pivot(first), book, input=Order)

    async def main() -> Any:
        async with desk.working(saga) as orchestrator:
            assert isinstance(await orchestrator.run(saga, Order(), id="one"), Parked)
            await orchestrator.session.act("one", "retry", "book", actor="ann", reason="now", result=None)
            return await orchestrator.handle(saga, "one").outcome()

    assert asyncio.run(main()) == Completed(None)
    assert desk.booked == [("one", 2)]
    assert desk.inbox == [("book", 1, "rejected", False), ("book", 2, "succeeded", False)]


def test_effects_may_be_in_another_database_than_the_sagas(postgres_url: str, tmp_path: Path) -> None:
    desk = Desk(postgres_url, PSYCOPG)
    saga = desk.saga(nothing)

    async def main() -> Any:
        url = f"sqlite:///{tmp_path}/sagas.db"
        async with Orchestrator(url, sagas=[saga], effects=postgres_url, migrate=True) as orchestrator:
            return await orchestrator.run(saga, Order(), id="one")

    assert asyncio.run(main()) == Completed(None)
    assert desk.booked == [("one", 100)]


def test_a_worker_without_the_inbox_is_refused_and_upgrading_makes_it(postgres_url: str, tmp_path: Path) -> None:
    desk = Desk(postgres_url, ASYNCPG)
    saga = desk.saga(nothing)
    orchestrator = Orchestrator(f"sqlite:///{tmp_path}/sagas.db", sagas=[saga], effects=postgres_url)

    async def main() -> Any:
        with pytest.raises(SchemaMismatch, match="amends db upgrade"):
            async with orchestrator:
                pass
        assert await upgrade_effects(orchestrator.config, SqliteStore(tmp_path / "sagas.db", "default")) == [
            1,
            2,
            3,
            4,
            5,
        ]
        assert await upgrade_inbox(postgres_url) == []
        async with orchestrator:
            return await orchestrator.run(saga, Order(), id="one")

    assert asyncio.run(main()) == Completed(None)


# What is refused when it is built


@pytest.mark.parametrize(
    ("type_", "is_async", "word"),
    [
        (asyncpg.Connection, False, "`async def`"),
        (psycopg.Connection, True, "plain `def`"),
        (orm.Session, True, "plain"),
    ],
)
def test_a_function_that_cannot_use_its_transaction_is_refused(type_: Any, is_async: bool, word: str) -> None:
    with pytest.raises(DefinitionError, match=word):
        Saga("saga", asking(type_, is_async=is_async), input=Order)


def test_two_kinds_of_transactions_in_one_function_are_refused() -> None:
    @step(readonly=True)
    def look(one: psycopg.Connection, two: sqlalchemy.Connection) -> None: ...

    with pytest.raises(DefinitionError, match="one transaction"):
        Saga("saga", look, input=Order)


@pytest.mark.parametrize(
    ("type_", "effects", "word"),
    [
        (asyncpg.Connection, "sqlite:///books.db", "there is none on the SQLite file"),
        (
            AsyncConnection,
            sqlalchemy.create_engine("postgresql+psycopg://host/db"),
            "AsyncConnection, and there is none",
        ),
        (AsyncConnection, 3, "a URL is expected"),
    ],
    ids=["file", "sync engine", "number"],
)
def test_effects_that_cannot_give_what_a_step_asks_for_are_refused_when_it_is_built(
    type_: Any, effects: object, word: str
) -> None:
    saga: Saga[Order, None] = Saga("saga", asking(type_, is_async=True), input=Order)

    with pytest.raises(DefinitionError, match=word):
        Orchestrator("memory://", sagas=[saga], effects=effects)


def test_a_generic_annotation_means_its_class() -> None:
    saga: Saga[Order, None] = Saga("saga", asking(psycopg.AsyncConnection[dict[str, Any]], is_async=True), input=Order)

    assert saga.plan.step("look").work == "tx"


def asking(type_: Any, *, is_async: bool) -> Any:
    """A step that asks for a transaction."""
    look: Any
    if is_async:

        async def look(tx: Any) -> None: ...

    else:

        def look(tx: Any) -> None: ...

    look.__annotations__["tx"] = type_
    return step(readonly=True)(look)
