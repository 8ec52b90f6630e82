"""A handler that ends its transaction itself, and hides that by beginning another: nobody knows what stayed of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from participant_scene import POSTGRES_TX, Place, Stock, action, at_work, move, reserving

from amends import Reject
from amends.decide.wire import Reply, Word

ENDINGS = (
    "COMMIT",
    "COMMIT AND CHAIN",
    "COMMIT; BEGIN; SAVEPOINT amends_step",
    "ROLLBACK; BEGIN; SAVEPOINT amends_step",
    "RELEASE SAVEPOINT amends_step",
)


@pytest.mark.parametrize("says_no", [False, True], ids=["returns", "rejects"])
@pytest.mark.parametrize("batch", [1, 50])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_handler_that_ends_its_transaction_is_told_of_as_neither_done_nor_rejected(
    postgres_url: str, ending: str, batch: int, says_no: bool
) -> None:
    place = Place("postgres", postgres_url, POSTGRES_TX)
    stock = Stock(place)

    async def reserve(command: Any, tx: Any) -> Any:
        await move(tx, command.sku, command.many)
        await tx.execute(ending)
        if says_no:
            raise Reject("no")
        return stock.reserve.replied.type(command.sku)  # type: ignore[operator]

    app = reserving(stock, reserve, batch)
    commands = [action(saga=bytes([number]) * 16, key=str(number)) for number in range(3)]

    async def main() -> list[Reply]:
        async with at_work(stock, app) as peer:
            await peer.send(*commands)
            return [await peer.reply() for _ in commands]

    for reply in asyncio.run(main()):
        assert (reply.word, reply.park) == (Word.FAILED, True), reply
        assert "ended its transaction itself" in reply.reason
    assert not place.sql("SELECT 1 FROM amends.inbox WHERE action IS NOT NULL")
