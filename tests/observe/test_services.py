"""What services tell: of commands, of batons and of events, whether they do them or have done them before."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from onlooker import Onlooker
from travels import Ground, Order, Town, hurry, place_order

from amends import Orchestrator, Participant, Saga, Service, pivot
from amends.decide.events import Phase
from amends.observe import events as o
from amends.observe.logs import InContext, within
from amends.observe.metrics import Metrics
from amends.run import homes

PATIENCE_SECONDS = 60.0
INBOX = """INSERT INTO amends_inbox
    (ns, saga, address, round, action, compensated, missing, result, reason, command, at)
    VALUES (?, ?, ?, 1, ?, 0, 0, ?, ?, ?, ?)"""


def observed(town: Town, *observers: object) -> None:
    """All its services tell these."""
    for app in town.apps.values():
        app.observed_by(*observers)  # type: ignore[arg-type]  # functions of an event, all of them


def test_a_service_tells_of_each_command_and_how_it_ended(tmp_path: Path) -> None:
    town, onlooker, metrics = Town(Ground(tmp_path)), Onlooker(), Metrics()
    observed(town, onlooker, metrics)
    conductor = Orchestrator(town.ground.url("conductor"), sagas=[place_order])

    async def main() -> None:
        async with town.open("inventory", "payment"), conductor:
            await conductor.run(place_order, Order("o1", 5000), id="o1")

    asyncio.run(main())
    ended = [(e.service, e.step, e.phase, e.outcome, e.repeated) for e in onlooker.of(o.HandlerEnded)]
    assert ended == [
        ("inventory", "reserve", Phase.ACTION, "succeeded", ""),
        ("payment", "charge", Phase.ACTION, "rejected", ""),
        ("inventory", "reserve", Phase.UNDO, "succeeded", ""),
    ]
    assert [e.about.key for e in onlooker.of(o.HandlerBegan)] == ["o1"] * 3
    assert metrics.value("amends_commands_handled_total", "payment", "payment.charge-card", "action", "rejected") == 1
    assert metrics.value("amends_commands_in_flight", "inventory") == 0


def test_a_choreographed_saga_tells_the_same_as_an_orchestrated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    town, onlooker, metrics = Town(Ground(tmp_path)), Onlooker(), Metrics()
    observed(town, onlooker, metrics)

    async def main() -> None:
        async with town.open():
            town.start(Order("o1", 5000))
            await town.apps["orders"].outcome(place_order, "o1", timeout=PATIENCE_SECONDS)

    asyncio.run(main())
    assert onlooker.names("event", "handler") == [
        "saga.requested",
        *["saga.started", "attempt.ended", "hop.sent"],
        *["attempt.ended", "saga.turned_back", "hop.sent"],
        *["attempt.ended", "saga.ended"],
    ]
    attempts = [(e.about.saga, e.step, e.phase, e.outcome, e.attempt) for e in onlooker.of(o.AttemptEnded)]
    assert attempts == [
        ("place-order", "reserve", Phase.ACTION, "succeeded", 1),
        ("place-order", "charge", Phase.ACTION, "rejected", 1),
        ("place-order", "reserve", Phase.UNDO, "succeeded", 1),
    ]
    assert metrics.value("amends_hops_total", "inventory", "place-order", "payment") == 1
    assert metrics.value("amends_sagas_ended_total", "place-order", "compensated") == 1


@pytest.mark.parametrize(
    ("kept", "outcome", "repeated"),
    [("tombstone", "fenced", "fenced"), ("rejected", "rejected", "replay"), ("succeeded", "succeeded", "replay")],
)
def test_a_baton_whose_command_the_inbox_answers_is_told_with_what_that_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str, outcome: str, repeated: str
) -> None:
    hurry(monkeypatch)
    town, onlooker = Town(Ground(tmp_path)), Onlooker()
    observed(town, onlooker)

    async def main() -> None:
        async with town.open():
            pass  # its tables are made
        town.start(Order("o1", 5000))
        saga = str(town.sql("orders", "SELECT saga FROM amends_home")[0][0])
        values = ("orders", bytes.fromhex(saga), "reserve", kept, '{"id":"r1"}', "no", '{"order":"o1"}', time.time())
        with town.ground.connected("inventory") as connection:
            connection.execute(INBOX, values)
        async with town.open():
            await town.apps["orders"].outcome(place_order, "o1", timeout=PATIENCE_SECONDS)

    asyncio.run(main())
    first = onlooker.of(o.HandlerEnded)[0]
    assert (first.step, first.outcome, first.repeated) == ("reserve", outcome, repeated)


class Postman(Onlooker):
    """One that has something travel, and knows it again."""

    def carried(self, event: o.CommandSent | o.HopSent) -> Mapping[str, str]:
        """The trace context of the saga, at the step that is next."""
        return {"traceparent": f"00-{event.about.id.hex()}-{sum(event.step.encode()):016x}-01"}


@pytest.mark.parametrize("again", [False, True], ids=["at once", "sent again"])
def test_what_travels_with_a_baton_is_told_where_it_comes_also_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(homes, "patience", lambda plan: 0.2)
    town, postman = Town(Ground(tmp_path)), Postman()
    observed(town, postman)

    async def main() -> None:
        async with town.open("orders"):
            pass  # its tables are made
        town.start(Order("o1", 5000))
        if again:
            town.sql("orders", "DELETE FROM amends_outbox")
        async with town.open():
            await town.apps["orders"].outcome(place_order, "o1", timeout=PATIENCE_SECONDS)

    asyncio.run(main())
    began = [(e.step, e.trace) for e in postman.of(o.HandlerBegan)]
    assert {step for step, _ in began} == {"reserve", "charge"}
    saga = postman.of(o.SagaEnded)[0].about
    for step, trace in began:
        assert trace == {"traceparent": f"00-{saga.id.hex()}-{sum(step.encode()):016x}-01"}


@dataclass(frozen=True)
class Sold:
    """An event."""

    sku: str


shop, stock = Service("shop"), Service("stock")
sold = shop.event("sold", Sold)


def test_an_event_is_told_from_its_commit_to_its_handler(tmp_path: Path) -> None:
    seller = Participant(shop, database=f"sqlite:///{tmp_path / 'shop.db'}")
    keeper = Participant(stock, database=f"sqlite:///{tmp_path / 'stock.db'}")
    onlooker, metrics = Onlooker(), Metrics()
    heard: list[dict[str, str | int]] = []

    @keeper.on(sold)
    async def on_sold(event: Sold, tx: sqlite3.Connection) -> None:
        heard.append(within())

    seller.observed_by(onlooker, metrics)
    keeper.observed_by(onlooker, metrics, InContext())

    async def main() -> None:
        async with seller, keeper:
            await keeper.session.listening()
            with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
                seller.publish(sold, Sold("pear"), within=connection)
                connection.commit()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (onlooker.of(o.EventEnded) and onlooker.of(o.EventPublished)):
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    [ended], [published] = onlooker.of(o.EventEnded), onlooker.of(o.EventPublished)
    assert (ended.service, ended.event, ended.outcome, ended.repeated) == ("stock", "shop.sold", "succeeded", False)
    assert (published.service, published.event) == ("shop", "shop.sold")
    assert published.lag_seconds < PATIENCE_SECONDS
    assert heard == [{"service": "stock", "event": "shop.sold", "event_id": ended.message, "attempt": 1}]
    assert metrics.value("amends_events_handled_total", "stock", "shop.sold", "succeeded") == 1
    assert within() == {}


@dataclass(frozen=True)
class Take:
    """A command."""

    sku: str


desk = Service("desk")
take = desk.command("take", Take, reply=int, compensation=False, readonly=False)


@take.request(name="take")
def ask(order: Order) -> Take:
    """The only step: the point of no return."""
    return Take(order.id)


taken = Saga("taken", pivot(ask), input=Order, output=ask)


def test_commands_that_are_done_together_are_done_in_nobodys_context(tmp_path: Path) -> None:
    """The lines that a batch logs are of all its sagas, not of the first."""
    keeper = Participant(desk, database=f"sqlite:///{tmp_path / 'desk.db'}")
    onlooker = Onlooker()
    heard: list[dict[str, str | int]] = []

    @keeper.handles(take, batch=10)
    async def on_take(command: Take, tx: sqlite3.Connection) -> int:
        heard.append(within())
        return 1

    keeper.observed_by(onlooker, InContext())
    conductor = Orchestrator(f"sqlite:///{tmp_path / 'sagas.db'}", sagas=[taken])

    async def main() -> None:
        async with keeper, conductor:
            await keeper.session.listening()
            await asyncio.gather(*(conductor.run(taken, Order(f"o{n}", 1)) for n in range(12)))

    asyncio.run(main())
    assert heard == [{}] * 12
    assert [event.outcome for event in onlooker.of(o.HandlerEnded)] == ["succeeded"] * 12
