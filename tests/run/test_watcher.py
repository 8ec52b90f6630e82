"""The watcher: choreographed sagas are seen like others, and no saga notices what becomes of whoever sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from travels import PATIENCE_SECONDS, Charge, Ground, Order, Town, charge_card, orders, place_order, reserve, ship

from amends import Orchestrator, Park, Retry, Saga, Settings, Watcher, pivot
from amends.errors import DefinitionError, Refused, UnknownSaga
from amends.operate.operations import Operations, operations
from amends.operate.values import SagaView, Trouble
from amends.run import homes, hops, outbox
from amends.run.config import Config
from amends.store.base import Fate, Write
from amends.store.sqlite import SqliteStore

QUICK = Settings(lease_seconds=0.6)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(hops, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(homes, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database, for the services and for the watcher."""
    return Ground(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")


def watcher_on(ground: Ground, *sagas: Saga[Order, str], silent_after: float | None = None, file: str = "") -> Watcher:
    """A watcher of what the orders start."""
    url = ground.url(file or "watched")
    return Watcher(url, homes=[orders], sagas=sagas, silent_after=silent_after, settings=QUICK, migrate=True)


@asynccontextmanager
async def seen(watcher: Watcher) -> AsyncGenerator[Operations, None]:
    """What people see, with the watcher at work or without."""
    config: Config = watcher.config
    async with operations(config) as found:
        yield found


async def shown(found: Operations, id_: str, *statuses: str) -> SagaView:
    """A saga, once it has one of these statuses here."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                view = await found.show(id_)
            except UnknownSaga:
                view = None
            if view is not None and view.line.status in statuses:
                return view
            await asyncio.sleep(0.02)


async def silent(found: Operations, *expected: str) -> list[str]:
    """Why sagas are silent, once these are."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            page = await found.stuck(troubles=[Trouble.SILENT])
            if sorted(line.saga.id for line in page.lines) == sorted(expected):
                return [line.why for line in page.lines]
            await asyncio.sleep(0.02)


def test_a_choreographed_saga_is_seen_as_an_orchestrated_one_is(ground: Ground) -> None:
    town, watcher = Town(ground), watcher_on(ground, place_order)

    async def main() -> tuple[SagaView, SagaView]:
        async with watcher, town.open():
            await watcher.session.listening()
            town.start(Order("o-1", 100))
            town.start(Order("o-2", 5000))
            async with seen(watcher) as found:
                done, back = await shown(found, "o-1", "completed"), await shown(found, "o-2", "compensated")
                assert [line.id for line in (await found.find()).sagas] == ["o-2", "o-1"]
                assert (await found.plan("place-order")).fingerprint == place_order.plan.fingerprint
                return done, back

    done, back = asyncio.run(main())

    assert (done.line.saga, done.line.home, done.result) == ("place-order", "orders", b'"parcel of r-o-1"')
    assert [(step.address, step.status, step.contract) for step in done.steps] == [
        ("reserve", "succeeded", "inventory.reserve-stock"),
        ("charge", "succeeded", "payment.charge-card"),
        ("ship", "succeeded", "inventory.ship-goods"),
    ]
    assert done.state == town.state("o-1")
    assert back.state == town.state("o-2")
    assert [line.text for line in back.history][-1] == "compensated: everything that was done is undone"
    assert not any("is waited for until" in line.text for line in back.history)
    assert back.line.reason == "charge: too dear"
    assert {step.due_at for step in (*done.steps, *back.steps)} == {None}


def test_one_that_is_parked_is_among_the_stuck_and_acts_on_it_are_sent_home(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "release":
            raise Park("the shelf is locked")

    town, watcher = Town(ground, says), watcher_on(ground, place_order)

    async def main() -> SagaView:
        async with watcher, town.open():
            await watcher.session.listening()
            town.start(Order("o-1", 5000))
            async with seen(watcher) as found:
                await shown(found, "o-1", "parked")
                [line] = (await found.stuck()).lines
                assert (line.saga.id, line.trouble) == ("o-1", Trouble.PARKED)
                for act in (found.cancel, found.unpark, found.compensate):
                    with pytest.raises(Refused, match="Act at its home, the service orders"):
                        await act("o-1", actor="ann", reason="why not")
                with pytest.raises(Refused, match="orders"):
                    await found.retry("o-1", "reserve", actor="ann")
                return await found.show("o-1")

    view = asyncio.run(main())
    assert (view.acts, view.waiting_mail) == ((), 0)
    assert view.line.stuck == "the undo of reserve: the shelf is locked"


def test_a_service_that_does_not_react_is_named_until_it_does(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.decide.watching.GRACE_SECONDS", 0.1)
    town, watcher = Town(ground), watcher_on(ground, place_order, silent_after=0.2)

    async def main() -> None:
        async with watcher, town.open("orders", "inventory"), seen(watcher) as found:
            await watcher.session.listening()
            town.start(Order("o-1", 100))
            [why] = await silent(found, "o-1")
            assert why.startswith("payment did not react: charge (payment.charge-card) is its turn since 2")
            assert [line.silent for line in (await found.find()).sagas] == [why]
            assert (await found.show("o-1")).line.silent == why
            told = [(finding.level, finding.what) for finding in await found.doctor()]
            assert [one for one in told if one[1] in ("silent", "lag")] == [("warning", "silent")]
            async with town.open("payment"):
                await shown(found, "o-1", "completed")
                assert await silent(found) == []

    asyncio.run(main())


def test_one_that_waits_for_another_attempt_is_seen_waiting_and_is_not_silent(ground: Ground) -> None:
    @charge_card.request(name="charge", retry=Retry(attempts=3, first_delay=60.0, cap=60.0, jitter=0.0))
    def charge_later(order: Order) -> Charge:
        return Charge(order.id, order.cents)

    def says(what: str, order: str) -> None:
        if what == "charge":
            raise ValueError("flaky")

    flow = Saga("place-order", reserve, charge_later, pivot(ship), input=Order, output=ship)
    town, watcher = Town(ground, says, flow), watcher_on(ground, flow, silent_after=0.2)

    async def main() -> SagaView:
        async with watcher, town.open(), seen(watcher) as found:
            await watcher.session.listening()
            town.start(Order("o-1", 100))
            view = await shown(found, "o-1", "running")
            while view.steps[1].status != "waiting":
                view = await shown(found, "o-1", "running")
            return view

    view = asyncio.run(main())
    assert (view.steps[1].reason, view.line.silent) == ("ValueError: flaky", "")
    assert view.steps[1].due_at is not None
    assert view.steps[1].due_at - view.line.started_at > 50


def test_nobody_is_accused_by_a_watcher_that_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.decide.watching.GRACE_SECONDS", 0.1)
    ground, real, stuck = Ground(tmp_path), SqliteStore.commit, asyncio.Event()
    town, watcher = Town(ground), watcher_on(ground, place_order, silent_after=0.2)

    async def commit(self: SqliteStore, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        if any(row.new is not None and row.new.key == "o-2" for row in writes):
            await stuck.wait()
        return await real(self, worker, writes)

    monkeypatch.setattr(SqliteStore, "commit", commit)

    async def main() -> None:
        async with watcher, town.open("orders", "inventory"), seen(watcher) as found:
            await watcher.session.listening()
            town.start(Order("o-1", 100))
            await silent(found, "o-1")
            town.start(Order("o-2", 100))
            assert await silent(found) == []
            [finding] = [finding for finding in await found.doctor() if finding.what == "watchers"]
            assert finding.detail.endswith("has not heard all yet, so none counts as silent")
            stuck.set()
            await silent(found, "o-1", "o-2")

    asyncio.run(main())


def test_nobody_is_accused_while_nobody_listens(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.decide.watching.GRACE_SECONDS", 0.1)
    town, watcher = Town(ground), watcher_on(ground, place_order, silent_after=0.2)

    async def main() -> None:
        async with town.open("orders", "inventory"), seen_later(watcher) as found:
            await silent(found, "o-1")
            await watcher.__aexit__(None, None, None)
            assert await silent(found) == []
            assert (await found.show("o-1")).line.silent == ""
            [finding] = [finding for finding in await found.doctor() if finding.what == "watchers"]
            assert (finding.level, finding.detail[:13]) == ("warning", "none is alive")

    @asynccontextmanager
    async def seen_later(watcher: Watcher) -> AsyncGenerator[Operations, None]:
        await watcher.__aenter__()
        await watcher.session.listening()
        town.start(Order("o-1", 100))
        async with seen(watcher) as found:
            yield found

    asyncio.run(main())


@pytest.mark.parametrize("wiped", [False, True], ids=["restarted", "wiped"])
def test_no_saga_notices_that_the_watcher_is_away_and_it_catches_up(ground: Ground, wiped: bool) -> None:
    go_on = threading.Event()

    def says(what: str, order: str) -> None:
        if what == "charge" and not go_on.wait(PATIENCE_SECONDS):
            raise ValueError("nobody let it go on")

    town, first = Town(ground, says), watcher_on(ground, place_order)
    second = watcher_on(ground, place_order, file="again" if wiped else "")

    async def main() -> SagaView:
        async with town.open():
            async with first:
                await first.session.listening()
                town.start(Order("o-1", 100))
                async with seen(first) as found:
                    view = await shown(found, "o-1", "running")
                    while view.steps[0].status != "succeeded":
                        view = await shown(found, "o-1", "running")
            if wiped and ground.postgres:
                with ground.connected("orders") as connection:
                    connection.execute("TRUNCATE amends.saga, amends.journal, amends.plan, amends.worker")
            go_on.set()
            town.start(Order("o-2", 100))
            await town.until(lambda: town.stand("o-1") == town.stand("o-2") == "ended")
            async with second, seen(second) as found:
                await shown(found, "o-2", "completed")
                return await shown(found, "o-1", "completed")

    view = asyncio.run(main())
    assert view.state == town.state("o-1")
    assert town.done("payment") == [("charge", "o-1"), ("charge", "o-2")]


def test_two_of_one_name_share_what_there_is_to_hear(ground: Ground) -> None:
    town, one, other = Town(ground), watcher_on(ground, place_order), watcher_on(ground, place_order)
    many = [Order(f"o-{number}", 100 + 1000 * (number % 2)) for number in range(20)]

    async def main() -> tuple[int, int]:
        async with one, other, town.open():
            await one.session.listening()
            await other.session.listening()
            for order in many:
                town.start(order)
            async with seen(one) as found:
                for order in many:
                    view = await shown(found, order.id, "completed", "compensated")
                    await town.until(lambda order=order: town.stand(order.id) == "ended")  # type: ignore[misc]
                    assert view.state == town.state(order.id)
            return one.session.folded, other.session.folded

    assert min(asyncio.run(main())) > 0


def test_one_that_never_ran_before_knows_a_saga_at_the_latest_when_it_ends(ground: Ground) -> None:
    go_on = threading.Event()

    def says(what: str, order: str) -> None:
        if what == "charge" and not go_on.wait(PATIENCE_SECONDS):
            raise ValueError("nobody let it go on")

    town, watcher = Town(ground, says), watcher_on(ground, place_order)

    async def main() -> SagaView:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_hop") != [])
            async with watcher:
                await watcher.session.listening()
                go_on.set()
                async with seen(watcher) as found:
                    return await shown(found, "o-1", "completed")

    view = asyncio.run(main())
    assert view.state == town.state("o-1")
    assert view.history[0].event == "started"


def test_one_that_starts_while_a_service_is_silent_learns_of_it_from_the_home(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amends.decide.watching.GRACE_SECONDS", 0.1)
    monkeypatch.setattr(homes, "patience", lambda plan: 0.3)
    town, watcher = Town(ground), watcher_on(ground, place_order, silent_after=0.2)

    async def main() -> None:
        async with town.open("orders", "inventory"):
            town.start(Order("o-1", 100))
            await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_hop") != [])
            await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_outbox") == [])
            async with watcher, seen(watcher) as found:
                async with asyncio.timeout(PATIENCE_SECONDS):  # before it has heard of inventory, it may name that
                    while not (await silent(found, "o-1"))[0].startswith("payment did not react"):
                        await asyncio.sleep(0.02)

    asyncio.run(main())


def test_a_saga_whose_plan_is_not_known_is_listed_and_known_once_the_watcher_has_it(ground: Ground) -> None:
    town, watcher, other = Town(ground), watcher_on(ground), watcher_on(ground, place_order)

    async def main() -> tuple[SagaView, SagaView]:
        async with town.open():
            async with watcher:
                await watcher.session.listening()
                town.start(Order("o-1", 5000))
                async with seen(watcher) as found:
                    before = await shown(found, "o-1", "compensated")
            async with other, seen(other) as found:
                await other.session.listening()
                town.start(Order("o-2", 5000))
                await shown(found, "o-2", "compensated")
                assert {line.saga for line in (await found.find(sagas=["place-order"])).sagas} == {"place-order"}
                return before, await shown(found, "o-1", "compensated")

    before, after = asyncio.run(main())
    assert [(step.address, step.status) for step in before.steps] == [
        ("reserve", "compensated"),
        ("charge", "rejected"),
    ]
    assert after.plan == place_order.plan
    assert after.history[0].event == before.history[0].event == "started"


def test_an_orchestrator_and_a_watcher_do_not_share_a_namespace(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    orchestrator = Orchestrator(url, sagas=[place_order])
    beside = Orchestrator(url, sagas=[place_order], namespace="choreographed")

    async def main() -> None:
        async with orchestrator:
            with pytest.raises(DefinitionError, match="the namespace 'default' is an orchestrator's"):
                await Watcher(url, homes=[orders], namespace="default").__aenter__()
            async with Watcher(url, homes=[orders], sagas=[place_order]):  # the file has its worker, and that goes on
                with pytest.raises(DefinitionError, match="this namespace is a watcher's"):
                    async with beside.client():
                        pass

    asyncio.run(main())


def test_what_cannot_be_right_is_said_when_it_is_built() -> None:
    with pytest.raises(DefinitionError, match=r"homes=\[…\]"):
        Watcher(homes=[])
    with pytest.raises(DefinitionError, match="a Service is expected"):
        Watcher(homes=["orders"])  # type: ignore[list-item]
    with pytest.raises(DefinitionError, match="a Saga is expected"):
        Watcher(homes=[orders], sagas=["place-order"])  # type: ignore[list-item]
    with pytest.raises(DefinitionError, match="name"):
        Watcher(homes=[orders], name="not a name")
    with pytest.raises(DefinitionError, match="broker="):
        Watcher(homes=[orders], broker="carrier-pigeon://")


def test_where_nobody_is_told_nothing_is_said(ground: Ground) -> None:
    town, watcher = Town(ground, settings=Settings(progress=False)), watcher_on(ground, place_order)

    async def main() -> int:
        async with watcher, town.open():
            await watcher.session.listening()
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")
            return watcher.session.folded

    assert asyncio.run(main()) == 0
