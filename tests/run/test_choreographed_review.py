"""What an adversary does to a saga with nobody in the middle: stale batons, lost answers, two hands on one hop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from travelpost import Post, is_baton, kind
from travels import Ground, Order, Reserve, Town, charge, ground_of, hurry, reserve, ship

from amends import Completed, Park, Participant, Retry, Saga, Service, Settings, fault, pivot
from amends.decide.state import Status
from amends.errors import StoreUnavailable
from amends.run import homes, hop, hops
from amends.transport.names import commands_of

ORDER, DEAR = Order("o-1", 100), Order("o-1", 5000)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    hurry(monkeypatch)


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database."""
    return ground_of(request, tmp_path)


def done(town: Town) -> Counter[str]:
    """All that was done."""
    return Counter(what for service in ("inventory", "payment") for what, _ in town.done(service))


def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how many seconds the clocks of those who hold a saga are ahead."""
    by = [0.0]
    for module in (hop, hops):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + by[0]))
    return by


async def settled(town: Town, condition: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Whether a condition comes to hold in time."""
    try:
        async with asyncio.timeout(seconds):
            await town.until(condition)
    except TimeoutError:
        return False
    return True


# Two ways from one hop


def test_a_baton_that_comes_again_after_the_deadline_undoes_nothing_of_a_completed_saga(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = later(monkeypatch)
    post = Post(monkeypatch)
    saga = Saga("timely", reserve, charge, pivot(ship), input=Order, output=ship, deadline=600.0)
    town = Town(ground, saga=saga)

    async def main() -> None:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.stand("o-1") == "ended")
            by[0] = 1000.0
            stale = post.batons("reserve")[0]
            await town.apps["orders"].session.work.sender.send(stale.to, stale.message)
            town.start(Order("o-2", 100))
            await town.until(lambda: town.stand("o-2") == "ended")
            await settled(town, lambda: "release" in done(town), 3.0)

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPLETED
    assert [what for what, who in town.done("inventory") if who == "o-1"] == ["reserve", "ship"]


def test_a_home_that_sends_the_first_baton_again_after_the_deadline_turns_nothing_that_has_passed_its_pivot(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(monkeypatch)
    monkeypatch.setattr(homes, "patience", lambda plan: 3.0)
    closed = [True]

    def says(what: str, order: str) -> None:
        if what == "ship" and closed[0]:
            raise Retry.after(5.0)

    saga = Saga("timely", reserve, pivot(charge), ship, input=Order, output=ship, deadline=2.0)
    town = Town(ground, says, saga=saga)

    async def main() -> Any:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.done("payment") != [])
            sent = len(post.batons("reserve"))
            await town.until(lambda: len(post.batons("reserve")) > sent)
            await settled(town, lambda: town.stand("o-1") == "ended", 1.0)
            closed[0] = False
            return await town.apps["orders"].outcome(saga, "o-1", timeout=30.0)

    assert asyncio.run(main()) == Completed("parcel of r-o-1")
    assert done(town) == {"reserve": 1, "charge": 1, "ship": 1}


def test_who_is_about_to_commit_and_who_cancels_in_another_process_do_not_both_pass_it_on(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is stopped between the hop's row and its COMMIT; the mark comes to another of the same service."""
    tries, stopped, going = Counter[str](), threading.Event(), threading.Event()

    def says(what: str, order: str) -> None:
        tries[what] += 1
        if what == "charge" and tries[what] == 1:
            raise Retry.after(0.5)

    def hook(name: str) -> None:
        if name == "tx.before" and tries["charge"] == 2 and not stopped.is_set():
            stopped.set()
            going.wait(20.0)

    monkeypatch.setattr(fault, "hook", hook)
    post = Post(monkeypatch)
    post.loses = lambda send: kind(send) == "mark" and send.to != commands_of("payment")  # it is late elsewhere
    town = Town(Ground(tmp_path, postgres_url), says)
    other = Town(Ground(tmp_path, postgres_url), says)

    async def main() -> None:
        async with town.open():
            town.start(ORDER)
            assert await settled(town, stopped.is_set, 20.0)
            async with other.apps["payment"] as app:  # and it alone hears the mark
                for listening in town.apps["payment"].session._listening:
                    await listening.stop()
                await app.session.listening()
                people = town.apps["orders"]
                asking = [asyncio.ensure_future(people.retry("o-1", "nowhere"))]  # refused: a row of its own
                await town.until(lambda: len(town.sql("payment", "SELECT 1 FROM amends_mark WHERE NOT at_home")) == 1)
                asking.append(asyncio.ensure_future(people.cancel("o-1", reason="changed my mind")))
                await town.until(lambda: len(town.sql("payment", "SELECT 1 FROM amends_mark WHERE NOT at_home")) == 2)
                blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%hop%'"
                await settled(town, lambda: bool(town.sql("payment", blocked)), 5.0)
                going.set()
                await asyncio.wait(asking, timeout=8.0)
                await settled(town, lambda: town.stand("o-1") == "ended")
                await settled(town, lambda: "release" in done(town), 3.0)
                for one in asking:
                    one.cancel()
                await asyncio.wait(asking)

    asyncio.run(main())
    did, status = done(town), town.state("o-1").status
    way = {"reserve": 1, "charge": 1, "ship": 1} if status is Status.COMPLETED else {"reserve": 1, "release": 1}
    assert did == way or did == {"reserve": 1, "release": 1, "charge": 1, "refund": 1}


# Beyond the horizon


def test_a_baton_older_than_what_is_remembered_does_nothing(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(monkeypatch)
    town = Town(ground, settings=Settings(inbox_horizon_seconds=2.0, events_kept_seconds=0.1))

    async def main() -> None:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.stand("o-1") == "ended")
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_inbox_ended") != [])
            await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_inbox_ended") != [])
            await asyncio.sleep(2.2)  # it is the database that looks at its clock
            for app in town.apps.values():
                await app.session.clean()
            assert town.sql("inventory", "SELECT 1 FROM amends_inbox") == []
            stale = post.batons("reserve")[0]
            await town.apps["orders"].session.work.sender.send(stale.to, stale.message)
            await settled(town, lambda: done(town)["reserve"] > 1, 3.0)

    asyncio.run(main())
    assert done(town) == {"reserve": 1, "charge": 1, "ship": 1}


def test_a_service_that_has_not_forgotten_does_not_freshen_what_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that the saga has ended did not come to the first service; the others have forgotten it."""
    post = Post(monkeypatch)
    post.loses = lambda send: kind(send) == "ended" and send.to == commands_of("inventory")
    town = Town(Ground(tmp_path), settings=Settings(inbox_horizon_seconds=2.0, events_kept_seconds=0.1))

    async def main() -> None:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.stand("o-1") == "ended")
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_inbox_ended") != [])
            await asyncio.sleep(2.2)  # as above
            for app in town.apps.values():
                await app.session.clean()
            stale = post.batons("reserve")[0]
            await town.apps["orders"].session.work.sender.send(stale.to, stale.message)
            await settled(town, lambda: done(town)["charge"] > 1, 3.0)

    asyncio.run(main())
    assert done(town) == {"reserve": 1, "charge": 1, "ship": 1}


# Lost for good


def test_a_baton_lost_after_a_service_did_not_know_the_plan_is_revived(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "CLAIM_SECONDS", 0.2)
    monkeypatch.setattr(homes, "patience", lambda plan: 0.3)
    post = Post(monkeypatch)
    old = Town(ground, knows={"payment": []})
    new = Town(ground)

    async def before() -> None:
        async with old.open():
            old.start(ORDER)
            await old.until(lambda: old.stand("o-1") == "unknown-plan")

    async def after() -> bool:
        post.loses = lambda send: is_baton(send.message, "ship")
        async with new.open():
            await new.until(lambda: post.batons("ship") != [])
            post.loses = lambda send: False
            return await settled(new, lambda: new.stand("o-1") == "ended", 10.0)

    asyncio.run(before())
    assert asyncio.run(after()), new.stand("o-1")


def test_a_baton_lost_after_a_person_had_it_go_on_is_revived(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker loses all that it has at that moment: the baton, and the answer to the person."""
    monkeypatch.setattr(homes, "patience", lambda plan: 0.3)
    monkeypatch.setattr(homes, "AGAIN_SECONDS", 0.3)
    post = Post(monkeypatch)
    locked = [True]

    def says(what: str, order: str) -> None:
        if what == "charge" and locked[0]:
            raise Park("the till is locked")

    town = Town(ground, says)

    async def main() -> bool:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.stand("o-1") == "parked")
            locked[0] = False
            post.loses = lambda send: kind(send) == "answer" or is_baton(send.message, "ship")
            asking = asyncio.ensure_future(town.apps["orders"].retry("o-1", "charge"))
            await town.until(lambda: post.batons("ship") != [] and any(kind(send) == "answer" for send in post.sent))
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_outbox") == [])
            post.loses = lambda send: False
            ended = await settled(town, lambda: town.stand("o-1") == "ended", 10.0)
            asking.cancel()
            await asyncio.wait([asking])
            return ended

    assert asyncio.run(main()), town.stand("o-1")


# What is asked


def test_a_cancel_of_what_is_parked_on_its_way_back_is_answered(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "release":
            raise Park("the shelf is locked")

    town = Town(ground, says, settings=Settings(answer_seconds=8.0))

    async def main() -> Any:
        async with town.open():
            town.start(DEAR)
            await town.until(lambda: town.stand("o-1") == "parked")
            return await town.apps["orders"].cancel("o-1", reason="changed my mind")

    assert asyncio.run(main()) == ("accepted", "the saga was going back already")


# Whatever else


@pytest.mark.parametrize("duty", ["_hops", "_homes"])
def test_what_goes_wrong_once_in_a_sweep_does_not_end_all_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duty: str
) -> None:
    town = Town(Ground(tmp_path))
    swept = Counter[str]()

    async def main() -> bool:
        async with town.open("orders"):
            of = getattr(town.apps["orders"].session, duty)
            original = of.sweep

            async def sweep() -> bool:
                swept["times"] += 1
                if swept["times"] == 1:
                    raise LookupError("whatever it is")
                return bool(await original())

            of.sweep = sweep
            return await settled(town, lambda: swept["times"] > 1, 3.0)

    assert asyncio.run(main())


def test_what_a_participant_leaves_in_hand_is_no_attempt_where_something_is_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away when it leaves; an `around` must not turn `Leaving`, or `Stale`, into a failed attempt."""

    @asynccontextmanager
    async def around(ctx: Any) -> AsyncGenerator[None, None]:
        yield

    told: list[Any] = []
    original = hop.Hop.happens

    def happens(self: hop.Hop, outcome: Any) -> None:
        told.append(outcome)
        original(self, outcome)

    monkeypatch.setattr(hop.Hop, "happens", happens)
    town = Town(Ground(tmp_path))
    object.__setattr__(town.apps["inventory"]._built, "around", (around,))

    async def main() -> None:
        async with town.open():
            work = town.apps["inventory"].session.work
            assert work.transactions is not None
            asked = asyncio.Event()

            async def once(it: Any) -> Any:
                asked.set()
                raise StoreUnavailable("it is away")

            monkeypatch.setattr(work.transactions, "once", once)
            town.start(ORDER)
            await asyncio.wait_for(asked.wait(), 20.0)

    asyncio.run(main())
    assert [type(one).__name__ for one in told] == []


def test_a_service_whose_name_has_a_dot_takes_its_batons(tmp_path: Path) -> None:
    service = Service("eu.parcels")
    command = service.command("send", Reserve, reply=str, compensation=False)

    @command.request
    def ask(order: Order) -> Reserve:
        return Reserve(order.id)

    saga = Saga("dotted", pivot(ask), input=Order)
    file = tmp_path / "parcels.db"
    app = Participant(service, database=f"sqlite:///{file}", sagas=[saga])

    @app.handles(command)
    def send(command: Reserve, tx: sqlite3.Connection) -> str:
        return "sent"

    async def main() -> Any:
        async with app:
            await app.session.listening()
            with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
                app.start(saga, ORDER, within=connection, id="o-1")
            return await app.outcome(saga, "o-1", timeout=30.0)

    assert asyncio.run(main()) == Completed(None)
