"""`app.publish(…, within=…)` in a transaction of the user's own, on a real PostgreSQL, whatever the library: an event
that is told if and only if that transaction commits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from publish_scene import SECONDS, Placed, Shop, database, shop
from sqlalchemy.orm import Session
from user_drivers import INVOICE, USERS, User

from amends.errors import NotEnlisted, ValueRefused

STRANGE = 'it\'s 100 %, %s %(x)s "\\" \\n :x ::text $1 ? {} ✓ \U0001f600'
__all__ = ["database", "shop"]
Play = Callable[[Shop, User], Awaitable[None]]


@pytest.fixture(params=USERS)
def make(request: pytest.FixtureRequest) -> Callable[[], User]:
    """One of all the libraries."""
    return USERS[request.param]


def play(shop: Shop, make: Callable[[], User], act: Play) -> None:
    """Something that a user of a library does, beside the service at work."""

    async def main() -> None:
        user = make()
        async with asyncio.timeout(SECONDS), shop.open():
            await user.open(shop.url)
            try:
                await act(shop, user)
            finally:
                await user.close()

    asyncio.run(main())


def test_an_event_is_told_once_the_transaction_commits_and_not_before(shop: Shop, make: Callable[[], User]) -> None:
    async def act(shop: Shop, user: User) -> None:
        await user.begin()
        await user.execute(INVOICE)
        await shop.tell("o-1", user.within)
        await shop.tell("o-2", user.within)
        before = (shop.outbox, shop.heard[:])

        await user.commit()

        await shop.hears("o-1", "o-2")
        assert before == (0, [])
        assert shop.invoices == 1

    play(shop, make, act)


def test_what_is_rolled_back_was_never_told(shop: Shop, make: Callable[[], User]) -> None:
    async def act(shop: Shop, user: User) -> None:
        await user.begin()
        await user.execute(INVOICE)
        await shop.tell("never", user.within)
        await user.rollback()
        await user.begin()
        await user.execute(INVOICE)
        await shop.tell("o-1", user.within)
        await user.commit()

        await shop.hears("o-1")
        assert (shop.outbox, shop.invoices) == (1, 1)

    play(shop, make, act)


def test_any_text_arrives_as_it_was_told(shop: Shop, make: Callable[[], User]) -> None:
    async def act(shop: Shop, user: User) -> None:
        await user.begin()
        await shop.tell(STRANGE, user.within)
        await user.commit()

        await shop.hears(STRANGE)

    play(shop, make, act)


def test_an_event_of_a_process_where_nobody_is_at_work_is_told_by_the_next(shop: Shop) -> None:
    async def main() -> None:
        user = USERS["sqlalchemy-session"]()
        await user.open(shop.url)
        await user.begin()
        await shop.tell("o-1", user.within)  # a web process: the participant is not entered here
        await user.commit()
        await user.close()
        async with asyncio.timeout(SECONDS), shop.open():
            await shop.hears("o-1")

    asyncio.run(main())


def test_an_event_whose_transaction_commits_late_is_not_passed_over(shop: Shop) -> None:
    async def main() -> None:
        with psycopg.connect(shop.url) as slow, psycopg.connect(shop.url) as quick:
            shop.app.publish(shop.placed, Placed("o-1"), within=slow)  # it has the lower number
            shop.app.publish(shop.placed, Placed("o-2"), within=quick)
            quick.commit()
            async with asyncio.timeout(SECONDS), shop.open():
                outbox = shop.app.session.work.outbox
                assert outbox is not None
                await outbox.sweep(0.0)
                await shop.hears("o-2")
                slow.commit()

                await outbox.sweep(0.0)
                await outbox.drain(SECONDS)

                assert outbox.published == 2
                await shop.hears("o-1", "o-2")

    asyncio.run(main())


# Threads, and what is refused


def test_a_synchronous_program_tells_from_a_thread_of_its_own(shop: Shop) -> None:
    def web_request(order: str) -> None:
        with psycopg.connect(shop.url) as connection:
            connection.execute(INVOICE)
            shop.app.publish(shop.placed, Placed(order), within=connection)

    def orm_request(order: str) -> None:
        engine = sa.create_engine(f"postgresql+psycopg://{shop.url.partition('://')[2]}")
        with Session(engine) as session, session.begin():
            session.execute(sa.text(INVOICE))
            shop.app.publish(shop.placed, Placed(order), within=session)
        engine.dispose()

    async def main() -> None:
        async with asyncio.timeout(SECONDS), shop.open():
            await asyncio.gather(asyncio.to_thread(web_request, "o-1"), asyncio.to_thread(orm_request, "o-2"))
            await shop.hears("o-1", "o-2")

    asyncio.run(main())


def alone(url: str) -> Iterator[Any]:
    """Connections on which each statement commits by itself."""
    yield psycopg.connect(url, autocommit=True)
    third = psycopg2.connect(url)
    third.autocommit = True
    yield third
    engine = sa.create_engine(f"postgresql+psycopg://{url.partition('://')[2]}", isolation_level="AUTOCOMMIT")
    yield engine.connect()
    engine.dispose()


def test_a_connection_in_no_transaction_is_refused_in_words_of_events(shop: Shop) -> None:
    for connection in alone(shop.url):
        with closing(connection), pytest.raises(NotEnlisted, match="each statement on it commits by itself") as told:
            shop.app.publish(shop.placed, Placed("never"), within=connection)
        assert "saga" not in str(told.value), told.value

    assert shop.outbox == 0


@pytest.mark.parametrize("key", ["a\nb", "\t", "\x7f", "x" * 201], ids=repr)
def test_a_key_that_no_message_can_carry_is_refused_before_it_is_in_the_outbox(shop: Shop, key: str) -> None:
    with psycopg.connect(shop.url) as connection, pytest.raises(ValueRefused, match="the key of the event"):
        shop.app.publish(shop.placed, Placed(key), within=connection)

    assert shop.outbox == 0


def test_a_transaction_that_has_failed_is_refused(shop: Shop) -> None:
    with psycopg.connect(shop.url) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0")
        with pytest.raises(NotEnlisted, match="has failed"):
            shop.app.publish(shop.placed, Placed("never"), within=connection)
        connection.rollback()

    assert shop.outbox == 0
