"""The barrier's table, line by line, through a real participant on PostgreSQL and on SQLite.

A service is sent commands as an orchestrator would, and what it answers is looked at, with what it has done.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from participant_scene import POSTGRES_TX, SQLITE_TX, Place, Stock, action, at_work, no, undo

from amends.decide.wire import Word

WEEK = 7 * 24 * 3600.0
OTHER = "another"
RESERVED, RELEASED = ("a", 2), ("a", -2)


@pytest.fixture(params=["postgres", "sqlite"])
def stock(request: pytest.FixtureRequest, tmp_path: Path) -> Stock:
    """A service on either database."""
    if request.param == "postgres":
        return Stock(Place("postgres", request.getfixturevalue("postgres_url"), POSTGRES_TX))
    return Stock(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX))


def test_an_action_that_nothing_is_known_of_runs_and_its_outcome_is_stored(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            reply = await peer.ask(action())

        assert (reply.word, reply.data, reply.token) == (Word.SUCCEEDED, b'{"id":"a-2"}', "token")
        assert (reply.key, reply.step, reply.round, reply.attempt) == ("order-1", "reserve", 1, 1)

    asyncio.run(main())
    assert stock.place.moved == [RESERVED]
    assert stock.place.inbox == [("reserve", 1, "succeeded", False, False)]


def test_an_action_that_has_succeeded_is_answered_again_from_the_row(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            first = await peer.ask(action())
            again = await peer.ask(action(attempt=2, token=OTHER))

        assert again == first._replace(attempt=2, token=OTHER)

    asyncio.run(main())
    assert stock.calls == ["reserve a"]
    assert stock.place.moved == [RESERVED]


def test_an_action_that_was_rejected_is_answered_again_from_the_row(stock: Stock) -> None:
    stock.before = no

    async def main() -> None:
        async with at_work(stock) as peer:
            replies = [await peer.ask(action()), await peer.ask(action())]

        assert [(reply.word, reply.reason) for reply in replies] == [(Word.REJECTED, "sold out")] * 2

    asyncio.run(main())
    assert stock.calls == ["reserve a"]
    assert stock.place.moved == []
    assert stock.place.inbox == [("reserve", 1, "rejected", False, False)]


def test_a_compensation_of_a_success_gets_the_stored_command_and_the_stored_result(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            assert await peer.word(undo(known=False)) is Word.COMPENSATED

    asyncio.run(main())
    assert stock.calls == ["reserve a", "release a-2"]
    assert stock.place.moved == [RESERVED, RELEASED]
    assert stock.place.inbox == [("reserve", 1, "succeeded", True, False)]


def test_a_compensation_that_was_done_is_answered_again_from_the_row(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            assert [await peer.word(undo()) for _ in range(2)] == [Word.COMPENSATED] * 2

    asyncio.run(main())
    assert stock.place.moved == [RESERVED, RELEASED]


def test_an_action_after_its_compensation_is_fenced(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            await peer.ask(undo())
            assert await peer.word(action()) is Word.FENCED

    asyncio.run(main())
    assert stock.place.moved == [RESERVED, RELEASED]


def test_a_compensation_that_finds_nothing_leaves_a_tombstone_that_fences_the_late_action(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            assert await peer.word(undo(known=False)) is Word.VOID
            assert await peer.word(action()) is Word.FENCED
            assert await peer.word(undo(known=False)) is Word.VOID

    asyncio.run(main())
    assert stock.calls == []
    assert stock.place.inbox == [("reserve", 1, "tombstone", False, False)]


def test_a_compensation_for_a_success_that_nobody_knows_of_is_missing_every_time(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            assert await peer.word(undo(known=True)) is Word.MISSING
            assert await peer.word(undo(known=False)) is Word.MISSING
            assert await peer.word(action()) is Word.FENCED

    asyncio.run(main())
    assert stock.place.inbox == [("reserve", 1, "tombstone", False, True)]


def test_a_tombstone_becomes_missing_where_the_sender_knows_of_a_success(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            assert await peer.word(undo(known=False)) is Word.VOID
            assert await peer.word(undo(known=True)) is Word.MISSING
            assert await peer.word(undo(known=False)) is Word.MISSING

    asyncio.run(main())


def test_a_compensation_of_what_was_rejected_is_void(stock: Stock) -> None:
    stock.before = no

    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            assert await peer.word(undo(known=False)) is Word.VOID

    asyncio.run(main())
    assert stock.place.inbox == [("reserve", 1, "rejected", False, False)]


@pytest.mark.parametrize("phase", ["action", "undo"])
def test_a_command_older_than_the_horizon_is_expired_and_has_no_effect(stock: Stock, phase: str) -> None:
    old = time.time() - WEEK - 60

    async def main() -> None:
        async with at_work(stock) as peer:
            command = action(sent_at=old) if phase == "action" else undo(sent_at=old)
            assert await peer.word(command) is Word.EXPIRED
            assert await peer.word(action(sent_at=time.time() - WEEK + 600)) is Word.SUCCEEDED

    asyncio.run(main())
    assert stock.place.moved == [RESERVED]


def test_an_action_of_a_lower_round_is_fenced(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            assert await peer.word(action(round=3)) is Word.SUCCEEDED
            assert [await peer.word(action(round=lower)) for lower in (1, 2)] == [Word.FENCED] * 2
            assert await peer.word(undo(round=2, known=False)) is Word.VOID

    asyncio.run(main())
    assert stock.place.moved == [RESERVED]
    assert [row[:3] for row in stock.place.inbox] == [
        ("reserve", 1, "tombstone"),
        ("reserve", 2, "tombstone"),
        ("reserve", 3, "succeeded"),
    ]


def test_an_action_whose_earlier_round_has_its_effect_still_is_refused(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            assert await peer.word(action(round=2)) is Word.EARLIER_OPEN
            assert await peer.word(undo(round=1)) is Word.COMPENSATED
            assert await peer.word(action(round=2)) is Word.SUCCEEDED

    asyncio.run(main())
    assert stock.place.moved == [RESERVED, RELEASED, RESERVED]


def test_a_round_that_a_person_closed_is_in_nobodys_way(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            assert await peer.word(action(round=2, closed=1)) is Word.SUCCEEDED

    asyncio.run(main())
    assert stock.place.moved == [RESERVED, RESERVED]


def test_a_compensation_of_a_higher_round_leaves_the_lower_ones_alone(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            assert await peer.word(undo(round=2, known=False)) is Word.VOID
            assert await peer.word(undo(round=1)) is Word.COMPENSATED

    asyncio.run(main())
    assert stock.place.moved == [RESERVED, RELEASED]


def test_the_same_address_of_another_namespace_or_saga_is_another(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            words = [
                await peer.word(command)
                for command in (action(), action(namespace="other"), action(saga=b"x" * 16), action(step="again"))
            ]
            assert words == [Word.SUCCEEDED] * 4

    asyncio.run(main())
    assert stock.place.moved == [RESERVED] * 4
