"""What goes wrong with the watcher, its database or its broker is no saga's trouble, and is made up for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from travels import Ground, Order, Town, orders, place_order

from amends import Settings, Watcher
from amends.decide.baton import Kind
from amends.errors import StoreUnavailable, TransportAway, TransportRefused
from amends.message import Message
from amends.operate.operations import operations
from amends.run import hops, outbox, watcher_session
from amends.store.base import Fate, WorkerInfo, Write
from amends.store.sqlite import SqliteStore
from amends.testing.unreliable import MessageRates, Unreliable
from amends.transport.base import Destination, Send
from amends.transport.local import LocalTransport
from amends.transport.names import dead_of, progress_of

TOPIC = progress_of("orders")
MANY = 20


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(hops, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(watcher_session, "PAUSE_SECONDS", 0.05)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """The three services, a file each."""
    return Town(Ground(tmp_path))


def watcher_of(town: Town, broker: Unreliable | None = None) -> Watcher:
    """Beside them."""
    settings = Settings(lease_seconds=0.6)
    url = town.ground.url("watched")
    return Watcher(url, homes=[orders], sagas=[place_order], broker=broker, settings=settings)


def start_many(town: Town) -> None:
    """Orders of which every third goes back."""
    for number in range(MANY):
        town.start(Order(f"o-{number}", 5000 if number % 3 == 0 else 100))


async def until_ended(town: Town) -> None:
    """All that were started."""
    ended = f"SELECT count(*) FROM amends_home WHERE stand = 'ended' HAVING count(*) = {MANY}"  # noqa: S608  # a constant
    await town.until(lambda: town.sql("orders", ended) != [])


async def check_all(town: Town, watcher: Watcher) -> None:
    """See that all of them are known as their home knows them."""
    async with operations(watcher.config) as found:
        while {line.status for line in (await found.find()).sagas} != {"completed", "compensated"}:
            await asyncio.sleep(0.02)
        assert len((await found.find(limit=MANY + 1)).sagas) == MANY
        for number in range(MANY):
            assert (await found.show(f"o-{number}")).state == town.state(f"o-{number}")


@pytest.mark.parametrize(
    "why", [TransportRefused("no such topic"), TransportAway("it is full")], ids=["refuses", "away"]
)
def test_a_broker_that_takes_no_progress_costs_no_saga_anything(
    town: Town, why: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, asked = LocalTransport.publish, list[Send]()

    async def publish(self: LocalTransport, sends: Sequence[Send]) -> list[Exception | None]:
        asked.extend(send for send in sends if send.to == TOPIC)
        done = iter(await real(self, [send for send in sends if send.to != TOPIC]))
        return [why if send.to == TOPIC else next(done) for send in sends]

    monkeypatch.setattr(LocalTransport, "publish", publish)

    async def main() -> list[str]:
        async with town.open():
            start_many(town)
            await until_ended(town)
            await town.until(lambda: town.sql("orders", "SELECT 1 FROM amends_outbox") == [])
            return [app.trouble for app in town.apps.values()]

    with caplog.at_level(logging.WARNING, "amends"):
        assert asyncio.run(main()) == ["", "", ""]

    assert asked
    if isinstance(why, TransportRefused):
        said = [record for record in caplog.records if "cannot be told of them" in record.message]
        assert len(said) == 3  # by each service, once
        assert len(asked) < 3 * MANY


def test_what_comes_twice_late_or_not_at_all_is_made_up_for(town: Town) -> None:
    rates = MessageRates(duplicated=0.3, redelivered=0.3, held=0.5, acks_lost=0.2)
    network = Unreliable(seed=5, rates=rates)
    watcher = watcher_of(town, network)

    async def main() -> None:
        async with watcher, town.open():
            await watcher.session.listening()
            start_many(town)
            await until_ended(town)
            async with asyncio.timeout(30):
                await check_all(town, watcher)

    asyncio.run(main())
    assert network.counts["redelivered"] > 0


def test_a_database_that_is_away_is_waited_for(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher, real, troubles = watcher_of(town), SqliteStore.commit, list[str]()

    async def commit(self: SqliteStore, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        if len(troubles) < 3:
            troubles.append(watcher.trouble)
            raise StoreUnavailable("the disk is full")
        return await real(self, worker, writes)

    monkeypatch.setattr(SqliteStore, "commit", commit)

    async def main() -> None:
        async with watcher, town.open():
            await watcher.session.listening()
            start_many(town)
            await until_ended(town)
            async with asyncio.timeout(30):
                await check_all(town, watcher)
            assert watcher.trouble == ""

    asyncio.run(main())
    assert troubles[-1] == "the disk is full"


def test_one_that_was_taken_for_gone_registers_anew_and_goes_on(town: Town) -> None:
    watcher = watcher_of(town)

    async def main() -> None:
        async with watcher, town.open():
            await watcher.session.listening()
            store = watcher.session.store
            for row in await store.workers():
                await store.deregister(row.id, survived=False)
            start_many(town)
            await until_ended(town)
            async with asyncio.timeout(30):
                await check_all(town, watcher)
            assert len([row for row in await store.workers() if row.retired_at is None]) == 1

    asyncio.run(main())


def test_one_that_has_a_backlog_at_the_broker_does_not_count_as_hearing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, lag = watcher_of(town), 7

    async def told(self: LocalTransport, source: Destination, group: str) -> int | None:
        return lag

    monkeypatch.setattr(LocalTransport, "lag", told)

    async def main() -> None:
        nonlocal lag
        async with watcher:
            await watcher.session.listening()
            store = watcher.session.store
            [begun] = await store.workers()
            while (now := (await store.workers())[0]).expires_at == begun.expires_at:
                await asyncio.sleep(0.02)
            assert now.plans == ()
            lag = 0
            while not (now := (await store.workers())[0]).plans:
                await asyncio.sleep(0.02)
            assert now.plans == (1,)

    asyncio.run(main())


def test_what_is_no_progress_is_put_aside_and_the_rest_goes_on(town: Town) -> None:
    watcher = watcher_of(town)
    odd = Message("1", "amends.progress", "/somebody", b"[]", 1.0, attributes={"amendskind": Kind.PROGRESS.value})

    async def main() -> int | None:
        async with watcher, town.open():
            await watcher.session.listening()
            beside = LocalTransport("local://")
            await beside.open()
            await beside.publish([Send(TOPIC, odd), Send(TOPIC, odd._replace(id="2", data=b"\xff"))])
            start_many(town)
            await until_ended(town)
            async with asyncio.timeout(30):
                await check_all(town, watcher)
            return await beside.lag(dead_of(TOPIC), "")

    assert asyncio.run(main()) == 2


def test_a_watcher_that_was_killed_is_forgotten_by_the_next(town: Town) -> None:
    watcher = watcher_of(town)

    async def main() -> None:
        async with watcher:
            store = watcher.session.store
            [row] = await store.workers()
            info = WorkerInfo("gone", 1, (), -60.0)
            await store.register(info)
        async with watcher:
            alive = [one for one in await watcher.session.store.workers() if one.retired_at is None]
            assert len(alive) == 1
            assert alive[0].id > row.id + 1

    asyncio.run(main())


def test_what_ended_long_ago_is_forgotten_if_that_is_wanted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(lease_seconds=0.6, retention_seconds=3600.0)
    watcher = Watcher(town.ground.url("watched"), homes=[orders], sagas=[place_order], settings=settings)
    monkeypatch.setattr(watcher_session, "LOOK_SECONDS", 0.0)

    async def main() -> None:
        async with watcher, town.open():
            await watcher.session.listening()
            start_many(town)
            await until_ended(town)
            async with asyncio.timeout(30):
                await check_all(town, watcher)
                store = watcher.session.store
                later = store.now() + 2 * 3600.0
                monkeypatch.setattr(SqliteStore, "now", lambda self: later)
                async with operations(watcher.config) as found:
                    while (await found.find()).sagas:
                        await asyncio.sleep(0.02)

    asyncio.run(main())
