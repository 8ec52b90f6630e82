"""Several commands in one transaction: one commit for all, and each with its own outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from participant_scene import (
    POSTGRES_TX,
    SQLITE_TX,
    Place,
    Stock,
    action,
    at_work,
    move,
    points_passed,
    reserving,
    undo,
)

from amends import Context, Reject
from amends.decide.wire import Command, Word


@pytest.fixture(params=["postgres", "sqlite"])
def stock(request: pytest.FixtureRequest, tmp_path: Path) -> Stock:
    """A service on either database, whose handler takes up to 50 commands at once."""
    if request.param == "postgres":
        place = Place("postgres", request.getfixturevalue("postgres_url"), POSTGRES_TX)
    else:
        place = Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX)
    return Stock(place, options={"batch": 50})


@pytest.fixture
def passed() -> Iterator[Counter[str]]:
    """The fault points that were passed."""
    yield from points_passed()


def many(count: int) -> list[Command]:
    """Commands of many sagas; what they ask for says which."""
    return [
        action(f'{{"sku":"{number}"}}'.encode(), saga=bytes([number]) * 16, key=str(number)) for number in range(count)
    ]


async def words(peer: Any, commands: list[Command]) -> dict[str, Word]:
    """Send all at once; how each ended."""
    await peer.send(*commands)
    return {reply.key: reply.word for reply in [await peer.reply() for _ in commands]}


def test_commands_that_wait_together_are_committed_together(stock: Stock, passed: Counter[str]) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            assert set((await words(peer, many(40))).values()) == {Word.SUCCEEDED}

    asyncio.run(main())
    assert len(stock.place.moved) == 40
    assert len(stock.place.inbox) == 40
    assert passed["tx.after"] < 10


def test_each_command_of_a_batch_has_its_own_outcome_and_only_its_own_effect(stock: Stock) -> None:
    def judge(what: str, ctx: Context) -> None:
        if int(ctx.saga_id) % 3 == 1:
            raise Reject(f"no {ctx.saga_id}")
        if int(ctx.saga_id) % 3 == 2:
            raise ValueError("flaky")

    stock.before = judge

    async def main() -> None:
        async with at_work(stock) as peer:
            outcomes = await words(peer, many(30))
            expected = [Word.SUCCEEDED, Word.REJECTED, Word.FAILED]
            assert outcomes == {str(number): expected[number % 3] for number in range(30)}

            again = await words(peer, many(30))  # what was decided is answered from the rows, the rest runs again
            assert again == outcomes

    asyncio.run(main())
    assert sorted(int(sku) for sku, _ in stock.place.moved) == list(range(0, 30, 3))
    assert Counter(row[2] for row in stock.place.inbox) == {"succeeded": 10, "rejected": 10}


def test_a_batch_of_repeated_and_compensated_commands_says_what_the_rows_say(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await words(peer, many(20))
            undone = [undo(saga=bytes([number]) * 16, key=str(number)) for number in range(0, 20, 2)]
            assert set((await words(peer, undone)).values()) == {Word.COMPENSATED}

            outcomes = await words(peer, many(25))

            for number in range(25):
                fenced = number < 20 and number % 2 == 0
                assert outcomes[str(number)] is (Word.FENCED if fenced else Word.SUCCEEDED)

    asyncio.run(main())
    assert len(stock.calls) == 20 + 10 + 5


def test_a_lower_round_that_is_new_is_fenced_in_a_batch_by_a_higher_one(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            higher = [undo(known=False, round=2, saga=one.saga, key=one.key) for one in many(10)]
            assert set((await words(peer, higher)).values()) == {Word.VOID}

            assert set((await words(peer, many(20))).values()) == {Word.FENCED, Word.SUCCEEDED}

    asyncio.run(main())
    assert sorted(int(sku) for sku, _ in stock.place.moved) == list(range(10, 20))
    assert all(row[2] is not None for row in stock.place.inbox)


def test_a_batch_that_meets_a_serialization_failure_is_done_one_by_one(postgres_url: str) -> None:
    place = Place("postgres", postgres_url, POSTGRES_TX)
    stock = Stock(place)
    lost = [1]

    async def reserve(command: Any, tx: Any) -> Any:
        await move(tx, command.sku, command.many)
        if command.sku == "7" and lost[0]:
            lost[0] -= 1
            await tx.execute("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")
        return stock.reserve.replied.type(command.sku)  # type: ignore[operator]

    app = reserving(stock, reserve)

    async def main() -> None:
        async with at_work(stock, app) as peer:
            assert set((await words(peer, many(20))).values()) == {Word.SUCCEEDED}

    asyncio.run(main())
    assert lost == [0]
    assert sorted(int(sku) for sku, _ in place.moved) == list(range(20))


def test_a_function_that_ends_the_transaction_itself_parks_those_of_its_batch_with_words(postgres_url: str) -> None:
    place = Place("postgres", postgres_url, POSTGRES_TX)
    stock = Stock(place)

    async def reserve(command: Any, tx: Any) -> Any:
        await move(tx, command.sku, command.many)
        if command.sku == "3":
            await tx.execute("COMMIT")
        return stock.reserve.replied.type(command.sku)  # type: ignore[operator]

    app = reserving(stock, reserve)

    async def main() -> None:
        async with at_work(stock, app) as peer:
            await peer.send(*many(6))
            replies = [await peer.reply() for _ in range(6)]
            assert {(reply.word, reply.park) for reply in replies} == {(Word.FAILED, True)}
            assert all("ended its transaction itself" in reply.reason for reply in replies)

    asyncio.run(main())
    assert [sku for sku, _ in place.moved] == ["0", "1", "2", "3"]  # what was committed is there once, and told of
