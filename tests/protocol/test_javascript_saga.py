"""Sagas whose shipping is done by the participant in JavaScript, over a real broker.

Guarantees: the orchestrator, its store and the service's process are real; what the customer gets is what was shipped.
Must not: send commands by hand: that is `test_javascript.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from javascript_process import Process

from amends import Compensated, Completed, Orchestrator, Reject, Retry, Saga, Service, step
from servers import need
from services.javascript import javascript_packages

REPLY_SECONDS = 3.0  # after so long without a reply a command is sent again
SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """What is bought."""

    id: str
    sku: str
    spoiled: bool = False


@dataclass(frozen=True)
class Ship:
    """What the service is asked."""

    order: str
    sku: str
    quantity: int


@dataclass(frozen=True)
class Parcel:
    """What it answers."""

    number: int


shipping = Service("shipping")
ship = shipping.command("ship", Ship, reply=Parcel)


@ship.request(retry=Retry(attempts=10, first_delay=0.1), timeout=REPLY_SECONDS)
def ask_to_ship(order: Order) -> Ship:
    """The step that the service does."""
    return Ship(order.id, order.sku, 3)


@step
async def look_at_it(order: Order, parcel: Parcel) -> int:
    """The step behind it, which may find the parcel spoiled."""
    if order.spoiled:
        raise Reject("it is spoiled")
    return parcel.number


@look_at_it.compensation
async def look_away() -> None:
    """Nothing to undo."""


buy = Saga("buy", ask_to_ship, look_at_it, input=Order, output=look_at_it)


class Scene:
    """The service's database, the broker, and the orchestrator's own file."""

    def __init__(self, database: str, broker: str, prefix: str, file: Path) -> None:
        self.database = database
        self._broker = broker
        self._prefix = prefix
        self._file = file
        self.processes: list[Process] = []

    async def service(self, **environment: str) -> Process:
        """Start a process of the service; it listens when this returns."""
        process = Process(self.database, self._broker, self._prefix, **environment)
        self.processes.append(process)
        await asyncio.to_thread(process.wait_for, "listening")
        return process

    @asynccontextmanager
    async def orchestrator(self) -> AsyncIterator[Orchestrator]:
        """One that runs the saga."""
        url = f"{self._broker}?prefix={self._prefix}"
        async with Orchestrator(f"sqlite:///{self._file}", sagas=[buy], broker=url) as orchestrator:
            yield orchestrator

    async def parcels(self) -> list[tuple[str, int]]:
        """Which orders have a parcel, and how often it was called back."""
        connection = await asyncpg.connect(self.database)
        try:
            rows = await connection.fetch("SELECT order_id, recalled FROM parcel ORDER BY number")
        finally:
            await connection.close()
        return [(row["order_id"], row["recalled"]) for row in rows]


@pytest.fixture
def scene(postgres_url: str, nats_url: str, broker_prefix: str, tmp_path: Path) -> Iterator[Scene]:
    """A scene; no process of it is left."""
    need(javascript_packages)
    made = Scene(postgres_url, nats_url, broker_prefix, tmp_path / "sagas.db")
    yield made
    for process in made.processes:
        process.kill()


def test_a_saga_is_completed_with_what_the_service_did(scene: Scene) -> None:
    async def main() -> object:
        await scene.service()
        async with scene.orchestrator() as orchestrator:
            return await orchestrator.run(buy, Order("o-1", "apple"), id="o-1")

    assert asyncio.run(main()) == Completed(1)
    assert asyncio.run(scene.parcels()) == [("o-1", 0)]


def test_a_saga_that_goes_back_has_the_service_undo_what_it_did(scene: Scene) -> None:
    async def main() -> object:
        await scene.service()
        async with scene.orchestrator() as orchestrator:
            return await orchestrator.run(buy, Order("o-1", "apple", spoiled=True), id="o-1")

    assert isinstance(asyncio.run(main()), Compensated)
    assert asyncio.run(scene.parcels()) == [("o-1", 1)]


def test_a_rejection_of_the_service_is_told_in_its_words(scene: Scene) -> None:
    async def main() -> object:
        await scene.service()
        async with scene.orchestrator() as orchestrator:
            return await orchestrator.run(buy, Order("o-1", "atlantis"), id="o-1")

    outcome = asyncio.run(main())
    assert isinstance(outcome, Compensated)
    assert "no van goes to Atlantis" in str(outcome)
    assert asyncio.run(scene.parcels()) == []


def test_a_service_that_begins_late_gets_what_waits_for_it(scene: Scene) -> None:
    async def main() -> object:
        async with scene.orchestrator() as orchestrator:
            running = asyncio.create_task(orchestrator.run(buy, Order("o-1", "apple"), id="o-1"))
            await asyncio.sleep(0)
            await scene.service()
            return await asyncio.wait_for(running, SECONDS)

    assert asyncio.run(main()) == Completed(1)
    assert asyncio.run(scene.parcels()) == [("o-1", 0)]


@pytest.mark.parametrize("phase", ["action", "undo"])
def test_a_service_killed_between_commit_and_reply_does_it_once(scene: Scene, phase: str) -> None:
    async def main() -> object:
        async with scene.orchestrator() as orchestrator:
            first = await scene.service(HOLD_AFTER_COMMIT=phase)
            order = Order("o-1", "apple", spoiled=phase == "undo")
            running = asyncio.create_task(orchestrator.run(buy, order, id="o-1"))
            await asyncio.to_thread(first.wait_for, f"committed {phase} of o-1")
            first.kill()
            await scene.service()
            return await asyncio.wait_for(running, SECONDS)

    outcome = asyncio.run(main())
    assert outcome == Completed(1) if phase == "action" else isinstance(outcome, Compensated)
    assert asyncio.run(scene.parcels()) == [("o-1", int(phase == "undo"))]


def test_many_sagas_and_two_processes_ship_once_each(scene: Scene) -> None:
    async def main() -> list[object]:
        await scene.service()
        await scene.service()
        async with scene.orchestrator() as orchestrator:
            orders = [Order(f"o-{number}", "apple", spoiled=number % 3 == 0) for number in range(60)]
            return list(await asyncio.gather(*(orchestrator.run(buy, each, id=each.id) for each in orders)))

    outcomes = asyncio.run(main())
    assert [isinstance(outcome, Compensated) for outcome in outcomes] == [number % 3 == 0 for number in range(60)]
    expected = sorted((f"o-{number}", int(number % 3 == 0)) for number in range(60))
    assert sorted(asyncio.run(scene.parcels())) == expected
