"""Events where there is no broker: what is in memory is gone with the process, so a row waits until it was handled."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from amends import Participant, Service
from amends.run import outbox
from amends.transport.base import Delivery
from amends.transport.local import LocalTransport
from amends.transport.names import events_of

payment = Service("payment")


@dataclass(frozen=True)
class Charged:
    order: str


charged = payment.event("charged", Charged, key=lambda event: event.order)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process does not wait long for the others that it hosts, nor for what is young."""
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(outbox, "SWEEP_SECONDS", 0.1)


async def told(path: Path, tell: Sequence[str], heard: Callable[[Delivery], bool], wanted: int) -> tuple[int, int]:
    """One life of payment and of a listener. heard: whether a delivery is handled. Gives how many came, and how many
    events are not settled in the end; waits until `wanted` of them are handled."""
    local, app = LocalTransport(), Participant(payment, database=f"sqlite:///{path}")
    came, handled, tasks = 0, asyncio.Event(), set[asyncio.Task[None]]()
    done = 0

    def receive(deliveries: Sequence[Delivery]) -> None:
        nonlocal came, done
        for delivery in deliveries:
            came += 1
            if heard(delivery):
                done += 1
                tasks.add(asyncio.create_task(delivery.ack()))
            if came >= wanted:
                handled.set()

    await local.open()
    await local.listen(events_of("payment"), "receipts", receive, in_flight=100)
    async with app:
        await app.session.listening()
        with closing(sqlite3.connect(path)) as connection:
            for order in tell:
                app.publish(charged, Charged(order), within=connection)
            connection.commit()
        async with asyncio.timeout(30):
            await handled.wait()
            while (await left(app)) > max(wanted - done, 0):
                await asyncio.sleep(0.02)
        unsettled = await left(app)
    await local.close()
    return came, unsettled


async def left(app: Participant) -> int:
    sizes = await app.session.sizes()
    assert sizes is not None
    return sizes.unpublished


def test_an_event_that_nobody_had_handled_when_its_process_ended_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "payment.db"

    first = asyncio.run(told(path, ["one"], lambda delivery: False, wanted=1))
    second = asyncio.run(told(path, [], lambda delivery: True, wanted=1))

    assert first == (1, 1)
    assert second == (1, 0)


def test_an_event_that_was_handled_does_not_come_again(tmp_path: Path) -> None:
    path = tmp_path / "payment.db"

    first = asyncio.run(told(path, ["one", "two"], lambda delivery: True, wanted=2))
    second = asyncio.run(told(path, ["three"], lambda delivery: True, wanted=1))

    assert first == (2, 0)
    assert second == (1, 0)


def test_an_event_waits_for_every_group_that_listens(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        slow = LocalTransport()
        await slow.open()
        deliveries: list[Delivery] = []
        await slow.listen(events_of("payment"), "slow", deliveries.extend, in_flight=100)
        app = Participant(payment, database=f"sqlite:///{tmp_path / 'payment.db'}")
        fast = LocalTransport()
        await fast.open()
        acks = set[asyncio.Task[None]]()
        await fast.listen(
            events_of("payment"), "fast", lambda ds: acks.update(asyncio.create_task(d.ack()) for d in ds), in_flight=9
        )
        async with app:
            with closing(sqlite3.connect(tmp_path / "payment.db")) as connection:
                app.publish(charged, Charged("one"), within=connection)
                connection.commit()
            async with asyncio.timeout(30):
                while not (deliveries and acks):
                    await asyncio.sleep(0.01)
                await asyncio.wait(acks)
                before = await left(app)
                await deliveries[0].ack()
                while await left(app):
                    await asyncio.sleep(0.01)
                after = await left(app)
        return before, after

    assert asyncio.run(main()) == (1, 0)


def test_leaving_does_not_wait_for_what_nobody_handles(tmp_path: Path) -> None:
    async def main() -> float:
        began = asyncio.get_running_loop().time()
        await told(tmp_path / "payment.db", ["one"], lambda delivery: False, wanted=1)
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(main()) < 4.0
