"""Events: written with what caused them, published from memory or by the sweep, handled once, in order per key.

On PostgreSQL and on SQLite, through real participants that meet in one process.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from participant_scene import POSTGRES_TX, SQLITE_TX, Place, move, until

from amends import Participant, Reject, Retry, Service
from amends.errors import DefinitionError, NotEnlisted
from amends.message import Message
from amends.transport.base import Delivery, Send
from amends.transport.local import LocalTransport
from amends.transport.names import dead_of, events_of

SOON = Retry(attempts=3, first_delay=0.01)


@dataclass(frozen=True)
class OrderPlaced:
    """An event of orders."""

    order: str
    sku: str = "a"


@dataclass(frozen=True)
class StockAllocated:
    """An event of the inventory."""

    order: str
    number: int = 0


@dataclass(frozen=True)
class StockShort:
    """Another."""

    order: str


class Market:
    """Orders tell of orders; the inventory hears and tells in turn; somebody listens to all of it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.prepare()
        self.orders = Service("orders")
        self.placed = self.orders.event("placed", OrderPlaced, key=lambda event: event.sku)
        self.inventory = Service("inventory")
        self.allocated = self.inventory.event("allocated", StockAllocated, key=lambda event: event.order)
        self.short = self.inventory.event("short", StockShort)
        self.heard: list[tuple[str, Any, str]] = []
        self.dead: list[Message] = []
        self.acks: set[asyncio.Task[None]] = set()
        self.calls: list[str] = []
        self.answer: Any = lambda event, tx: StockAllocated(event.order)
        self.local = LocalTransport()
        self.app = self.participant()

    def participant(self, **options: Any) -> Participant:
        """The inventory, not entered yet."""
        app = Participant(self.inventory, database=self.place.url, migrate=True, **options)

        async def allocate(event: OrderPlaced, tx: Any) -> StockAllocated | StockShort | list[StockAllocated] | None:
            self.calls.append(event.order)
            await move(tx, event.order, 1)
            given = self.answer(event, tx)
            return await given if asyncio.iscoroutine(given) else given  # type: ignore[no-any-return]

        allocate.__annotations__["tx"] = self.place.tx
        app.on(self.placed, retry=SOON)(allocate)
        return app

    async def tell(self, order: str, sku: str = "a", id_: str | None = None) -> None:
        """Orders tell of an order."""
        data = json.dumps({"order": order, "sku": sku}).encode()
        message = Message(
            id_ or f"m-{order}",
            "orders.placed",
            "/amends/orders",
            data,
            time.time(),
            key=sku,
            attributes={"amendskind": "event"},
        )
        assert await self.local.publish([Send(events_of("orders"), message)]) == [None]

    @asynccontextmanager
    async def open(self, *apps: Participant) -> AsyncGenerator[None, None]:
        """All at work."""
        async with AsyncExitStack() as stack:
            await self.local.open()
            await self.local.listen(events_of("inventory"), "test", self._events, in_flight=1000)
            await self.local.listen(dead_of(events_of("orders")), "test", self._letters, in_flight=1000)
            for app in apps or (self.app,):
                await stack.enter_async_context(app)
                await app.session.listening()
            yield
        await self.local.close()

    def _events(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            message = delivery.message
            assert message is not None
            self.heard.append((message.type, json.loads(message.data), message.id))
            self.acks.add(asyncio.create_task(delivery.ack()))

    def _letters(self, deliveries: Sequence[Delivery]) -> None:
        self.dead += [delivery.message for delivery in deliveries if delivery.message is not None]

    @property
    def told(self) -> list[tuple[str, Any]]:
        """What was heard of the inventory, in order."""
        return [(type_, data) for type_, data, _ in self.heard]

    @property
    def unsettled(self) -> int:
        """Rows of the outbox whose publication is not confirmed."""
        return int(self.place.sql("SELECT count(*) FROM amends.outbox WHERE settled IS NULL")[0][0])


@pytest.fixture(params=["postgres", "sqlite"])
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Market:
    """On either database."""
    if request.param == "postgres":
        return Market(Place("postgres", request.getfixturevalue("postgres_url"), POSTGRES_TX))
    return Market(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX))


def test_an_event_that_a_handler_returns_is_published_after_its_commit_and_settled(market: Market) -> None:
    async def main() -> None:
        async with market.open():
            await market.tell("o1")
            await until(lambda: market.heard != [] and market.unsettled == 0, "the event was published and settled")

    asyncio.run(main())
    assert market.told == [("inventory.allocated", {"order": "o1", "number": 0})]
    assert market.place.moved == [("o1", 1)]


def test_a_handler_may_return_several_events_or_none_and_each_class_is_its_own_contract(market: Market) -> None:
    market.answer = lambda event, tx: {
        "none": None,
        "short": StockShort(event.order),
        "two": [StockAllocated(event.order, 1), StockAllocated(event.order, 2)],
    }[event.order]

    async def main() -> None:
        async with market.open():
            for order in ("none", "short", "two"):
                await market.tell(order)
            await until(lambda: len(market.heard) == 3, "three events came")

    asyncio.run(main())
    assert market.told == [
        ("inventory.short", {"order": "short"}),
        ("inventory.allocated", {"order": "two", "number": 1}),
        ("inventory.allocated", {"order": "two", "number": 2}),
    ]


def test_an_event_that_comes_again_is_handled_once(market: Market) -> None:
    async def main() -> None:
        async with market.open():
            for _ in range(3):
                await market.tell("o1")
            await until(lambda: market.app.figures.handled == 3, "all three were handled")

    asyncio.run(main())
    assert market.calls == ["o1"]
    assert market.place.moved == [("o1", 1)]
    assert len(market.heard) == 1


def test_an_event_whose_handler_fails_is_tried_again_in_place_and_nothing_of_the_failure_stays(market: Market) -> None:
    async def fail_twice(event: OrderPlaced, tx: Any) -> StockAllocated:
        if len(market.calls) < 3:
            raise ValueError("not yet")
        return StockAllocated(event.order)

    market.answer = fail_twice

    async def main() -> None:
        async with market.open():
            await market.tell("o1")
            await until(lambda: market.heard != [], "the event came")

    asyncio.run(main())
    assert market.calls == ["o1"] * 3
    assert market.place.moved == [("o1", 1)]


@pytest.mark.parametrize(("error", "times"), [(ValueError("broken"), 3), (Reject("never"), 1)])
def test_an_event_whose_handler_fails_to_the_end_is_put_aside_with_the_reason(
    market: Market, error: Exception, times: int
) -> None:
    async def fail(event: OrderPlaced, tx: Any) -> None:
        raise error

    market.answer = fail

    async def main() -> None:
        async with market.open():
            await market.tell("o1")
            await until(lambda: market.dead != [], "the event was put aside")

    asyncio.run(main())
    assert market.calls == ["o1"] * times
    assert str(error) in market.dead[0].attributes["amendsdeadreason"]
    assert market.place.moved == []
    assert market.place.sql("SELECT count(*) FROM amends.inbox_event") == [(0,)]


def test_later_events_of_a_key_wait_for_one_that_is_tried_again_and_others_do_not(market: Market) -> None:
    async def fail_once(event: OrderPlaced, tx: Any) -> None:
        if market.calls.count("o1") == 1 and event.order == "o1":
            raise ValueError("not yet")

    market.answer = fail_once

    async def main() -> None:
        async with market.open():
            await market.tell("o1", "key")
            await market.tell("o2", "key")
            await market.tell("o3", "other")
            await until(lambda: market.app.figures.handled == 3, "all were handled")

    asyncio.run(main())
    assert market.calls.index("o3") < market.calls.index("o2")
    assert [sku for sku, _ in market.place.moved if sku != "o3"] == ["o1", "o2"]


def test_an_event_published_within_a_handlers_transaction_goes_out_if_and_only_if_it_commits(market: Market) -> None:
    async def publish(event: OrderPlaced, tx: Any) -> None:
        await market.app.publish(market.short, StockShort(event.order), within=tx)
        if event.order == "fails":
            raise Reject("no")

    market.answer = publish

    async def main() -> None:
        async with market.open():
            await market.tell("fails")
            await market.tell("works")
            await until(lambda: market.heard != [] and market.unsettled == 0, "the event came")

    asyncio.run(main())
    assert market.told == [("inventory.short", {"order": "works"})]


def test_what_a_dead_process_left_in_the_outbox_is_published_by_the_sweep(market: Market) -> None:
    async def main() -> None:
        async with market.open():
            outbox = market.app.session.work.outbox
            assert outbox is not None
            outbox.committed = lambda rows, earlier: None  # type: ignore[method-assign]  # as if it had died here
            await market.tell("o1")
            await until(lambda: market.unsettled == 1, "the event is committed")
            assert market.heard == []
            await outbox.sweep(0.0)
            await until(lambda: market.heard != [] and market.unsettled == 0, "the sweep published it")

    asyncio.run(main())
    assert market.told == [("inventory.allocated", {"order": "o1", "number": 0})]


def test_a_sweep_takes_of_a_key_the_first_only_and_memory_leaves_later_ones_to_it(market: Market) -> None:
    async def main() -> None:
        async with market.open():
            outbox = market.app.session.work.outbox
            assert outbox is not None
            keep, left = outbox.committed, list[Any]()
            outbox.committed = lambda rows, earlier: left.extend(rows)  # type: ignore[method-assign]
            market.answer = lambda event, tx: StockAllocated("same", int(event.order))
            await market.tell("1")
            await until(lambda: len(left) == 1, "the first is committed and not published")
            outbox.committed = keep  # type: ignore[method-assign]
            await market.tell("2")
            await until(lambda: market.unsettled == 2, "the second is committed")
            assert market.heard == []  # its key has an earlier one that nobody here has in hand
            for _ in range(2):
                await outbox.sweep(0.0)
                await outbox.drain(30)

    asyncio.run(main())
    assert [data["number"] for _, data in market.told] == [1, 2]


def test_events_of_one_key_are_published_in_order_from_memory_without_waiting_for_a_sweep(market: Market) -> None:
    market.answer = lambda event, tx: StockAllocated("same", int(event.order))

    async def main() -> None:
        async with market.open():
            began = time.monotonic()
            for number in range(30):
                await market.tell(str(number))
            await until(lambda: len(market.heard) == 30, "all came")
            assert time.monotonic() - began < 20  # a sweep takes none of them before its grace, one each time

    asyncio.run(main())
    assert [data["number"] for _, data in market.told] == list(range(30))


def test_events_are_published_again_on_request_with_their_ids_and_nobody_handles_them_twice(market: Market) -> None:
    async def main() -> None:
        began = time.time() - 1
        async with market.open():
            await market.tell("o1")
            await until(lambda: market.heard != [] and market.unsettled == 0, "the event came")
            outbox = market.app.session.work.outbox
            assert outbox is not None

            assert await market.app.session.republish(time.time() + 60) == 0
            assert await market.app.session.republish(began) == 1
            await outbox.sweep(0.0)
            await until(lambda: len(market.heard) == 2 and market.unsettled == 0, "it came again")

    asyncio.run(main())
    assert market.heard[0] == market.heard[1]


def test_settled_events_and_marks_go_after_their_time_and_what_is_not_settled_stays(market: Market) -> None:
    from amends import Settings

    app = market.participant(settings=Settings(events_kept_seconds=0.001, inbox_horizon_seconds=0.001))

    async def main() -> None:
        async with market.open(app):
            await market.tell("o1")
            await until(lambda: market.heard != [] and market.unsettled == 0, "the event came")
            outbox = app.session.work.outbox
            assert outbox is not None
            outbox.committed = lambda rows, earlier: None  # type: ignore[method-assign]
            await market.tell("o2")
            await until(lambda: market.unsettled == 1, "another is committed and not published")
            await until(lambda: market.place.sql("SELECT count(*) FROM amends.inbox_event") != [(0,)], "it is marked")
            await asyncio.sleep(0.01)  # so long they are kept

            await app.session.clean()

            assert market.place.sql("SELECT count(*) FROM amends.inbox_event") == [(0,)]
            assert market.place.sql("SELECT count(*), count(settled) FROM amends.outbox") == [(1, 0)]
            sizes = await app.session.sizes()
            assert sizes is not None
            assert (sizes.unpublished, sizes.lag > 0) == (1, True)

    asyncio.run(main())


def test_an_event_is_published_only_by_its_own_service_and_only_within_a_transaction(market: Market) -> None:
    async def main() -> None:
        with pytest.raises(DefinitionError, match="is an event of orders"):
            await market.app.publish(market.placed, OrderPlaced("o"), within=None)
        with pytest.raises(NotEnlisted, match="within=builtins"):
            await market.app.publish(market.short, StockShort("o"), within=object())
        lone = sqlite3.connect(":memory:", isolation_level=None)
        with pytest.raises(NotEnlisted, match="in no transaction"):
            await market.app.publish(market.short, StockShort("o"), within=lone)
        lone.close()

    asyncio.run(main())


def test_an_event_that_does_not_fit_its_contract_is_put_aside(market: Market) -> None:
    async def main() -> None:
        async with market.open():
            await market.local.publish(
                [
                    Send(
                        events_of("orders"),
                        Message("x", "orders.placed", "/o", b'{"no":1}', attributes={"amendskind": "event"}),
                    )
                ]
            )
            await until(lambda: market.dead != [], "it was put aside")

    asyncio.run(main())
    assert "does not fit orders.placed" in market.dead[0].attributes["amendsdeadreason"]
    assert market.calls == []
