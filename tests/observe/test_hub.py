"""Who observes is told cheaply, and can do no harm."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine import Order, engine, virtually

from amends import Completed, Context, Orchestrator, Participant, Saga, Service, pivot, step
from amends.decide.events import Phase
from amends.errors import DefinitionError
from amends.observe import events as o
from amends.observe.events import About, Event
from amends.observe.hub import OFF, Hub

ABOUT = About("default", "trip", "one", bytes(16))
SENT = o.CommandSent(ABOUT, 1.0, "book", Phase.ACTION, 1, 1, "hotel.book")


@step
async def book(order: Order, ctx: Context) -> int:
    """A step of no importance."""
    return order.cents


@book.compensation
async def unbook() -> None:
    """Nothing to do."""


trip = Saga("trip", book, input=Order, output=book)
hotel = Service("hotel")
book_room = hotel.command("book", Order)


@book_room.request
def ask(order: Order) -> Order:
    """The same."""
    return order


stay = Saga("stay", pivot(ask), input=Order)


class Broken:
    """An observer that fails on its second event, and the third time it would carry something."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.told.append(event)
        if len(self.told) > 1:
            raise RuntimeError("it has fallen over")


class Postman:
    """One that has something travel."""

    def __init__(self, what: Mapping[str, str] | None) -> None:
        self.what = what

    def __call__(self, event: Event) -> None:
        return

    def carried(self, event: Event) -> Mapping[str, str]:
        if self.what is None:
            raise RuntimeError("it has nothing")
        return self.what


def test_an_observer_that_fails_is_logged_once_and_told_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    broken, told = Broken(), list[Event]()
    hub = Hub([broken, told.append])

    for _ in range(5):
        hub.tell(SENT)

    assert len(broken.told) == 2
    assert len(told) == 5
    assert [record.name for record in caplog.records] == ["amends.observe"]


def given_up(event: Event) -> Mapping[str, str]:
    """An observer that asks a future which somebody has cancelled."""
    loop = asyncio.new_event_loop()
    asked: asyncio.Future[Mapping[str, str]] = loop.create_future()
    asked.cancel()
    loop.close()
    return asked.result()


def test_an_observer_that_asks_what_was_cancelled_has_failed_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    told = list[Event]()
    postman = Postman({})
    postman.carried = given_up  # type: ignore[method-assign]
    hub = Hub([given_up, postman, told.append])

    hub.tell(SENT)

    assert hub.carried(SENT) == {}
    assert told == [SENT]
    assert len(caplog.records) == 2


def test_when_the_last_one_is_cut_off_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub([Broken()])

    hub.tell(SENT)
    hub.tell(SENT)

    assert not hub.on


def test_what_travels_is_the_first_that_anybody_has(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub([Postman({}), Postman(None), Postman({"traceparent": "a"}), Postman({"traceparent": "b"})])

    assert hub.carried(SENT) == {"traceparent": "a"}
    assert hub.carried(SENT) == {"traceparent": "a"}
    assert len(caplog.records) == 1


def test_with_nobody_there_nothing_travels_and_nothing_is_on() -> None:
    assert not OFF.on
    assert OFF.carried(SENT) == {}


@pytest.mark.parametrize("build", [lambda given: Orchestrator(sagas=[trip], observers=given), None])
def test_an_observer_is_a_function(build: Any) -> None:
    make = build or (lambda given: Participant(Service("hotel"), observers=given))

    with pytest.raises(DefinitionError, match="a function of an event is expected, not 'metrics'"):
        make(["metrics"])


def observed(*observers: Any, saga: Saga[Any, Any] = trip) -> Orchestrator:
    """An orchestrator in memory that is observed."""
    built = engine(saga)
    built.config = replace(built.config, observers=observers)
    return built


def test_an_observer_that_fails_changes_no_outcome(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Any:
        async with observed(Broken()) as orchestrator:
            return await orchestrator.run(trip, Order(3))

    assert virtually(main()) == Completed(3)


def test_where_nobody_observes_no_saga_has_an_eye() -> None:
    async def main() -> Any:
        async with engine(trip) as orchestrator:
            await orchestrator.run(trip, Order(3))
            worker = orchestrator.session.worker
            assert worker is not None
            return worker.hub

    assert virtually(main()).on is False


def test_an_observer_that_asks_what_was_cancelled_holds_up_no_saga(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Any:
        async with observed(given_up) as orchestrator:
            return await asyncio.gather(*(orchestrator.run(trip, Order(n)) for n in range(5)))

    assert virtually(main()) == [Completed(n) for n in range(5)]


def test_a_participant_tells_an_observer_that_has_failed_nothing_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()

    async def main() -> None:
        url = f"sqlite:///{tmp_path}/desk.db"
        app = Participant(Service("desk"), database=url, sagas=[stay], observers=[broken], migrate=True)
        async with app:
            for number in range(5):
                with closing(sqlite3.connect(tmp_path / "desk.db", timeout=30)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    await app.start(stay, Order(number), within=connection)
                    connection.commit()

    asyncio.run(main())
    assert len(broken.told) == 2
    assert len([record for record in caplog.records if record.name == "amends.observe"]) == 1
