"""Constraints that are deferred, in commands of a batch: as in a command by itself, they count where it ends."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from participant_scene import POSTGRES_TX, Place, Stock, action, at_work, points_passed, reserving

from amends.decide.wire import Command, Word

TABLES = (
    "CREATE TABLE booking (sku text PRIMARY KEY)",
    "CREATE TABLE line (sku text REFERENCES booking DEFERRABLE INITIALLY DEFERRED, many integer NOT NULL)",
)
Write = Callable[[Any, Any], Awaitable[None]]


@pytest.fixture
def place(postgres_url: str) -> Place:
    """A database in which a line may be written before its booking."""
    place = Place("postgres", postgres_url, POSTGRES_TX)
    for text in TABLES:
        place.sql(text)
    return place


@pytest.fixture
def passed() -> Iterator[Counter[str]]:
    """The fault points that were passed."""
    yield from points_passed()


def commands(count: int) -> list[Command]:
    """Of as many sagas."""
    return [
        action(json.dumps({"sku": str(number), "many": number}).encode(), saga=bytes([number]) * 16, key=str(number))
        for number in range(count)
    ]


def outcomes(place: Place, write: Write, sent: list[Command]) -> dict[str, Word]:
    """How each ended, in batches of up to 50."""
    stock = Stock(place)

    async def reserve(command: Any, tx: Any) -> Any:
        await write(command, tx)
        return stock.reserve.replied.type(command.sku)  # type: ignore[operator]

    app = reserving(stock, reserve)

    async def main() -> dict[str, Word]:
        async with at_work(stock, app) as peer:
            await peer.send(*sent)
            return {reply.key: reply.word for reply in [await peer.reply() for _ in sent]}

    return asyncio.run(main())


async def line_first(command: Any, tx: Any) -> None:
    """Write the line before its booking."""
    await tx.execute("INSERT INTO line VALUES ($1, $2)", command.sku, command.many)
    await tx.execute("INSERT INTO booking VALUES ($1)", command.sku)


async def odd_without_booking(command: Any, tx: Any) -> None:
    """A line whose booking is missing, of every second command."""
    await tx.execute("INSERT INTO line VALUES ($1, $2)", command.sku, command.many)
    if command.many % 2 == 0:
        await tx.execute("INSERT INTO booking VALUES ($1)", command.sku)


def test_each_command_of_a_batch_may_leave_its_deferred_constraints_open_until_it_ends(
    place: Place, passed: Counter[str]
) -> None:
    said = outcomes(place, line_first, commands(20))

    assert set(said.values()) == {Word.SUCCEEDED}
    assert len(place.sql("SELECT * FROM line")) == 20
    assert passed["tx.after"] < 10, "they went in batches"


def test_a_deferred_constraint_that_one_command_of_a_batch_breaks_fails_that_one_only(place: Place) -> None:
    said = outcomes(place, odd_without_booking, commands(20))

    assert said == {str(number): Word.FAILED if number % 2 else Word.SUCCEEDED for number in range(20)}
    assert sorted(row[1] for row in place.sql("SELECT * FROM line")) == list(range(0, 20, 2))
    assert {row[2] for row in place.inbox} == {"succeeded"}
    assert len(place.inbox) == 10
