"""Chains of events: what each came of, from its first; and that no chain goes on for ever."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from participant_scene import POSTGRES_TX, SQLITE_TX, Place, move, until

from amends import Context, Orchestrator, Participant, Saga, Service, Settings, pivot
from amends.define.contract import Event
from amends.errors import ValueRefused
from amends.message import Message
from amends.transport.base import Delivery, Send
from amends.transport.local import LocalTransport
from amends.transport.names import dead_of, events_of


@dataclass(frozen=True)
class Told:
    """The data of every event here."""

    order: str


@dataclass(frozen=True)
class Undone:
    """That of one that tells what was undone."""

    order: str


Chained = tuple[str, str, str, str]  # type, correlation, causation, hops


class Street:
    """Two services that hear of each other, and somebody who listens to all that they tell."""

    def __init__(self, place: Place, **settings: Any) -> None:
        self.place = place
        place.prepare()
        self.orders, self.inventory = Service("orders"), Service("inventory")
        self.placed = self.orders.event("placed", Told)
        self.cancelled = self.orders.event("cancelled", Undone)
        self.reserved = self.inventory.event("reserved", Told)
        self.released = self.inventory.event("released", Undone)
        self.before()
        options: dict[str, Any] = {"database": place.url, "migrate": True, "settings": Settings(**settings)}
        self.shop, self.store = Participant(self.orders, **options), Participant(self.inventory, **options)
        self.local = LocalTransport()
        self.messages: list[Message] = []
        self.dead: list[Message] = []
        self.calls: list[str] = []
        self.seen: list[tuple[str, str]] = []
        self.acks: set[asyncio.Task[None]] = set()

    def before(self) -> None:
        """What more the services can be asked for."""

    def on(self, app: Participant, event: Event[Any], fn: Callable[..., Any]) -> None:
        """Register a handler that takes a transaction of this place."""
        fn.__annotations__["tx"] = self.place.tx
        app.on(event)(fn)

    def reserves(self) -> None:
        """The store hears of orders."""

        async def reserve(event: Told, tx: Any, ctx: Context) -> Told:
            self.calls.append(f"reserve {event.order}")
            self.seen.append((ctx.correlation, ctx.causation))
            await move(tx, event.order, 1)
            return event

        self.on(self.store, self.placed, reserve)

    async def tell(self, event: Event[Any], value: Any, **options: Any) -> None:
        """Publish an event in a transaction of one's own."""
        app = self.shop if event.service is self.orders else self.store
        if self.place.kind == "sqlite":
            path = Path(self.place.url.removeprefix("sqlite:///"))
            with closing(sqlite3.connect(path, timeout=30, check_same_thread=False)) as connection:
                await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")  # who holds the file goes on meanwhile
                await app.publish(event, value, within=connection, **options)
                await asyncio.to_thread(connection.commit)
        else:
            with psycopg.connect(self.place.url) as postgres:
                await app.publish(event, value, within=postgres, **options)

    async def send(self, type_: str, id_: str, value: Mapping[str, str], **attributes: str) -> None:
        """An event as a program in another language may tell it."""
        service = type_.split(".")[0]
        told = {"amendskind": "event", **attributes}
        message = Message(id_, type_, service, json.dumps(value).encode(), time.time(), attributes=told)
        assert await self.local.publish([Send(events_of(service), message)]) == [None]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Both at work."""
        async with AsyncExitStack() as stack:
            await self.local.open()
            for service in (self.orders, self.inventory):
                events = events_of(service.name)
                await self.local.listen(events, "test", self._hear, in_flight=1000)
                await self.local.listen(dead_of(events), "test", self._bury, in_flight=1000)
            for app in (self.shop, self.store):
                await stack.enter_async_context(app)
                await app.session.listening()
            yield
        await self.local.close()

    def _hear(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.message is not None
            self.messages.append(delivery.message)
            self.acks.add(asyncio.create_task(delivery.ack()))

    def _bury(self, deliveries: Sequence[Delivery]) -> None:
        self.dead += [delivery.message for delivery in deliveries if delivery.message is not None]

    def id_of(self, type_: str) -> str:
        """Of the only message of this type."""
        (found,) = [message.id for message in self.messages if message.type == type_]
        return found

    @property
    def chained(self) -> list[Chained]:
        """What the messages say of their chain, as it was heard."""
        return [
            (one.type, *(one.attributes.get(f"amends{name}", "") for name in ("correlation", "causation", "hops")))  # type: ignore[misc]  # four texts
            for one in self.messages
        ]

    @property
    def figures(self) -> list[tuple[int, int]]:
        """What was put aside, and of that because it came of too many others; of each service."""
        return [(app.figures.buried, app.figures.circling) for app in (self.shop, self.store)]


class Asked(Street):
    """The store may be asked, too."""

    def before(self) -> None:
        self.command = self.inventory.command("reserve", Told, compensation=False)


def place_of(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Place:
    """A database of this kind."""
    if kind == "postgres":
        return Place("postgres", request.getfixturevalue("postgres_url"), POSTGRES_TX)
    return Place("sqlite", f"sqlite:///{tmp_path}/street.db", SQLITE_TX)


@pytest.fixture(params=["postgres", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """On either database."""
    return place_of(request, tmp_path, request.param)


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """On SQLite."""
    return place_of(request, tmp_path, "sqlite")


def test_what_comes_of_an_event_has_its_correlation_and_its_id_as_the_cause(place: Place) -> None:
    street = Street(place)
    street.reserves()

    async def main() -> None:
        async with street.open():
            await street.tell(street.placed, Told("o1"))
            await until(lambda: len(street.messages) == 2, "the reservation was told")

    asyncio.run(main())
    first = street.id_of("orders.placed")
    assert street.chained == [("orders.placed", first, "", ""), ("inventory.reserved", first, first, "1")]
    assert street.seen == [(first, "")]


def test_a_first_event_may_be_given_a_correlation_which_the_whole_chain_has(place: Place) -> None:
    street = Street(place)
    street.reserves()

    async def cancel(event: Told, tx: Any, ctx: Context) -> Undone:
        street.seen.append((ctx.correlation, ctx.causation))
        return Undone(event.order)

    street.on(street.shop, street.reserved, cancel)

    async def main() -> None:
        async with street.open():
            await street.tell(street.placed, Told("o1"), correlation="order-42")
            await until(lambda: len(street.messages) == 3, "the cancellation was told")

    asyncio.run(main())
    first, second = street.id_of("orders.placed"), street.id_of("inventory.reserved")
    assert street.chained == [
        ("orders.placed", "order-42", "", ""),
        ("inventory.reserved", "order-42", first, "1"),
        ("orders.cancelled", "order-42", second, "2"),
    ]
    assert street.seen == [("order-42", ""), ("order-42", first)]


def test_what_is_published_within_a_handler_comes_of_what_it_handles(place: Place) -> None:
    street = Street(place)

    async def reserve(event: Told, tx: Any) -> None:
        await street.store.publish(street.reserved, event, within=tx)
        await street.store.publish(street.released, Undone(event.order), within=tx, correlation="apart")

    street.on(street.store, street.placed, reserve)

    async def main() -> None:
        async with street.open():
            await street.tell(street.placed, Told("o1"), correlation="order-42")
            await until(lambda: len(street.messages) == 3, "both were told")

    asyncio.run(main())
    first = street.id_of("orders.placed")
    assert street.chained[1:] == [
        ("inventory.reserved", "order-42", first, "1"),
        ("inventory.released", "apart", first, "1"),
    ]


def test_a_plain_function_tells_in_the_chain_of_what_it_handles_and_no_later_one(file: Place) -> None:
    street = Street(file)

    def reserve(event: Told, tx: sqlite3.Connection) -> None:
        street.store.publish(street.reserved, event, within=tx)

    street.store.on(street.placed)(reserve)

    async def main() -> None:
        async with street.open():
            await street.tell(street.placed, Told("o1"), correlation="one")
            await street.tell(street.placed, Told("o2"), correlation="two")
            await until(lambda: len(street.messages) == 4, "both were told")
            await street.tell(street.released, Undone("o3"))
            await until(lambda: len(street.messages) == 5, "another was told")

    asyncio.run(main())
    assert [one[1] for one in street.chained if one[0] == "inventory.reserved"] == ["one", "two"]
    assert street.chained[-1] == ("inventory.released", street.id_of("inventory.released"), "", "")


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("kind", ["postgres", "sqlite", "plain"])
def test_what_a_saga_s_command_tells_has_the_saga_s_id_as_its_correlation(
    request: pytest.FixtureRequest, tmp_path: Path, batch: int, kind: str
) -> None:
    street = Asked(place_of(request, tmp_path, kind))
    command = street.command

    async def reserve(command: Told, tx: Any, ctx: Context) -> None:
        street.seen.append((ctx.correlation, ctx.causation))
        await street.store.publish(street.reserved, command, within=tx)

    def reserve_plainly(command: Told, tx: sqlite3.Connection, ctx: Context) -> None:
        street.seen.append((ctx.correlation, ctx.causation))
        street.store.publish(street.reserved, command, within=tx)

    reserve.__annotations__["tx"] = street.place.tx
    street.store.handles(command, batch=batch)(reserve_plainly if kind == "plain" else reserve)

    @command.request
    def ask(order: Told) -> Told:
        return order

    saga = Saga("order", pivot(ask), input=Told)
    ids = [f"order-{number}" for number in range(6)]

    async def main() -> None:
        async with street.open(), Orchestrator(f"sqlite:///{tmp_path}/sagas.db", sagas=[saga]) as orchestrator:
            await asyncio.gather(*(orchestrator.run(saga, Told(id_), id=id_) for id_ in ids))
            await until(lambda: len(street.messages) == len(ids), "each told of its reservation")

    asyncio.run(main())
    assert sorted(json.loads(one.data)["order"] for one in street.messages) == ids
    for message in street.messages:
        assert message.attributes["amendscorrelation"] == json.loads(message.data)["order"]
    assert sorted(street.seen) == [(id_, "") for id_ in ids]


def test_a_cycle_ends_where_too_many_events_led_to_one_which_is_put_aside_with_words(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    street = Street(place, event_hops=5)

    async def place_again(event: Told, tx: Any) -> Told:
        street.calls.append(f"place {event.order}")
        return event

    street.reserves()
    street.on(street.shop, street.reserved, place_again)

    async def main() -> None:
        async with street.open():
            await street.tell(street.placed, Told("o1"), correlation="order-42")
            await until(lambda: street.dead != [], "one was put aside")
            await until(lambda: len(street.messages) == 7, "all were heard")
            assert street.figures == [(0, 0), (1, 1)]

    with caplog.at_level(logging.ERROR, "amends.events"):
        asyncio.run(main())
    assert street.calls == ["reserve o1", "place o1"] * 3
    assert [one[3] for one in street.chained] == ["", "1", "2", "3", "4", "5", "6"]
    why = street.dead[0].attributes["amendsdeadreason"]
    assert why.startswith("6 events led to it, each to the next, and inventory takes one after at most 5 (event_hops)")
    assert why.endswith("they have the correlation order-42")
    assert why in caplog.text


def test_a_compensating_event_that_comes_again_undoes_once_and_leads_to_nothing_new(place: Place) -> None:
    street = Street(place)
    street.reserves()

    async def release(event: Undone, tx: Any) -> Undone:
        street.calls.append(f"release {event.order}")
        await move(tx, event.order, -1)
        return event

    street.on(street.store, street.cancelled, release)

    async def main() -> None:
        async with street.open():
            await street.tell(street.placed, Told("o1"))
            await until(lambda: street.calls == ["reserve o1"], "it was reserved")
            await street.tell(street.cancelled, Undone("o1"))
            await until(lambda: len(street.messages) == 4, "it was released")
            (cancelled,) = [one for one in street.messages if one.type == "orders.cancelled"]
            (released,) = [one for one in street.messages if one.type == "inventory.released"]
            for again in (cancelled, released, cancelled):
                service = again.type.split(".")[0]
                assert await street.local.publish([Send(events_of(service), again)]) == [None]
            await until(lambda: street.store.figures.repeated == 2, "they came again")
            unsettled = "SELECT 1 FROM amends.outbox WHERE settled IS NULL"
            await until(lambda: street.place.sql(unsettled) == [], "the outbox knows that all is published")
            await street.shop.session.republish(0.0)
            await until(lambda: street.store.figures.repeated >= 4, "and were published again")

    asyncio.run(main())
    assert street.calls == ["reserve o1", "release o1"]
    assert place.moved == [("o1", 1), ("o1", -1)]


def test_an_event_that_says_nothing_of_a_chain_begins_one(file: Place) -> None:
    street = Street(file)
    street.reserves()

    async def main() -> None:
        async with street.open():
            await street.send("orders.placed", "m-1", {"order": "o1"})
            await until(lambda: len(street.messages) == 2, "it was reserved")

    asyncio.run(main())
    assert street.chained[1] == ("inventory.reserved", "m-1", "m-1", "1")


@pytest.mark.parametrize("hops", ["-1", "1.5", "many", "1000000000", ""])
def test_an_event_whose_number_of_hops_is_none_is_put_aside(file: Place, hops: str) -> None:
    street = Street(file)
    street.reserves()

    async def main() -> None:
        async with street.open():
            await street.send("orders.placed", "m-1", {"order": "o1"}, amendshops=hops)
            await until(lambda: street.dead != [], "it was put aside")

    asyncio.run(main())
    assert "amendshops" in street.dead[0].attributes["amendsdeadreason"]
    assert street.calls == []


@pytest.mark.parametrize(("hops", "taken"), [("50", True), ("51", False)])
def test_fifty_events_may_have_led_to_one_that_is_handled(file: Place, hops: str, taken: bool) -> None:
    street = Street(file)
    street.reserves()

    async def main() -> None:
        async with street.open():
            await street.send("orders.placed", "m-1", {"order": "o1"}, amendshops=hops)
            await until(lambda: street.dead != [] or street.calls != [], "it was handled, or put aside")

    asyncio.run(main())
    assert (street.calls == ["reserve o1"]) == taken


@pytest.mark.parametrize("correlation", ["", "x" * 201, "a\nb", 7])
def test_a_correlation_that_no_message_carries_is_refused(file: Place, correlation: Any) -> None:
    street = Street(file)
    street.reserves()

    async def main() -> None:
        async with street.open():
            with pytest.raises(ValueRefused, match="correlation="):
                await street.tell(street.placed, Told("o1"), correlation=correlation)

    asyncio.run(main())
