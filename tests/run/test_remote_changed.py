"""A service is asked otherwise: the command that a person changed, in a round of its own, and what undoes it."""

from __future__ import annotations

from typing import Any

import pytest
from asked import Stock, answer, asking, placed
from engine import Order, database, virtually

from amends import Compensated, Completed, Parked
from amends.decide.events import Phase
from amends.decide.wire import Command, Reply, Word
from amends.errors import Refused
from amends.operate.operations import Operations

BY: dict[str, Any] = {"actor": "ada", "reason": "the price was wrong"}
OTHER = b'{"cents":7}'


def says(command: Command) -> Reply:
    """A stock that takes no hundreds: a person is needed, and nothing stayed."""
    if command.phase is Phase.ACTION and command.data != OTHER:
        return answer(command, Word.FAILED, park=True, reason="not at that price")
    return answer(command)


@pytest.mark.parametrize("cents", [100, 101])
def test_the_changed_command_is_what_the_service_gets_and_undoes(cents: int) -> None:
    async def main() -> Any:
        async with Stock(says) as stock, asking(on=database()) as orchestrator:
            found = Operations(orchestrator.session)
            assert isinstance(await orchestrator.run(placed, Order(cents), id="order-1"), Parked)
            with pytest.raises(Refused, match="the command of reserve: it does not fit Reserve"):
                await found.retry("order-1", "reserve", **BY, arguments=b'{"cents":"seven"}')

            await found.retry("order-1", "reserve", **BY, arguments=OTHER)

            return await orchestrator.handle(placed, "order-1").outcome(), stock.actions, stock.undos

    outcome, actions, undos = virtually(main())
    assert [(command.data, command.round, command.closed) for command in actions] == [
        (b'{"cents":%d}' % cents, 1, 0),
        (OTHER, 2, 0),
    ]
    if cents == 100:
        assert (outcome, undos) == (Completed(7), [])
    else:
        assert isinstance(outcome, Compensated)
        assert [(command.data, command.round) for command in undos] == [(OTHER, 2)]


def test_a_round_that_a_person_closed_is_told_to_the_service() -> None:
    def no_reply(command: Command) -> Reply | None:
        return answer(command) if command.data == OTHER else answer(command, Word.EARLIER_OPEN, reason="hm")

    async def main() -> Any:
        async with Stock(no_reply) as stock, asking(on=database()) as orchestrator:
            found = Operations(orchestrator.session)
            orchestrator_outcome = await orchestrator.run(placed, Order(100), id="order-1")
            assert isinstance(orchestrator_outcome, Parked)

            await found.retry("order-1", "reserve", **BY, arguments=OTHER, nothing_stayed=True)

            return await orchestrator.handle(placed, "order-1").outcome(), stock.actions

    outcome, actions = virtually(main())
    assert outcome == Completed(7)
    assert [command.round for command in actions] == [1, 2]
