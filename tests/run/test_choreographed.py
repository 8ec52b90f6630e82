"""A saga with nobody in the middle: forward, back, again, and what is done only once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from travels import Ground, Order, Town, charge, ground_of, hurry, place_order, reserve, ship

from amends import Completed, Park, Parked, Retry, Saga, Settings, pivot
from amends.decide.baton import Mark, baton_message
from amends.decide.messages import Start
from amends.decide.state import Status
from amends.errors import IdConflict, TooLate, UnknownSaga
from amends.run import homes, hop, hops
from amends.run.homes import begun
from amends.run.hops import Hops, mark_row
from amends.run.journey import At, Journey
from amends.run.mailbox import Wish
from amends.run.wanted import Word
from amends.transport.names import commands_of


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    hurry(monkeypatch)


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database."""
    return ground_of(request, tmp_path)


def test_each_service_does_its_part_and_triggers_the_next(ground: Ground) -> None:
    town = Town(ground)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPLETED
    assert town.done("inventory") == [("reserve", "o-1"), ("ship", "o-1")]
    assert town.done("payment") == [("charge", "o-1")]


def test_a_rejection_turns_the_baton_round(ground: Ground) -> None:
    town = Town(ground)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 5000))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]
    assert town.done("payment") == []


def test_an_attempt_that_fails_is_made_again_where_it_failed(ground: Ground) -> None:
    failed = Counter[str]()

    def says(what: str, order: str) -> None:
        failed[what] += 1
        if what == "charge" and failed[what] < 3:
            raise ValueError("flaky")

    town = Town(ground, says)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPLETED
    assert failed["charge"] == 3
    assert town.done("payment") == [("charge", "o-1")]


def test_one_whose_attempts_are_used_up_turns_back(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "charge":
            raise ValueError("broken")

    town = Town(ground, says)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]
    assert town.done("payment") == []


def test_what_is_lost_on_the_way_is_revived_by_its_home_and_nothing_is_done_twice(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event loop has a broker of its own: what was on its way is gone with it."""
    monkeypatch.setattr(homes, "patience", lambda plan: 0.3)

    async def life(town: Town, *names: str, until: str) -> None:
        async with town.open(*names):
            if until == "begun":
                town.start(Order("o-1", 100))
            if until == "begun":
                await town.until(lambda: town.sql("orders", "SELECT 1 FROM amends_outbox") == [])
            elif until == "reserved":
                await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_hop") != [])
                await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_outbox") == [])
            else:
                await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(life(Town(ground), "orders", until="begun"))
    asyncio.run(life(Town(ground), "orders", "inventory", until="reserved"))
    town = Town(ground)
    asyncio.run(life(town, until="ended"))

    assert town.state("o-1").status is Status.COMPLETED
    assert town.done("inventory") == [("reserve", "o-1"), ("ship", "o-1")]
    assert town.done("payment") == [("charge", "o-1")]


def test_a_compensation_that_fails_for_good_keeps_the_baton_and_the_home_is_told(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "release":
            raise Park("the shelf is locked")

    town = Town(ground, says)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 5000))
            await town.until(lambda: town.stand("o-1") == "parked")

    asyncio.run(main())
    assert town.state("o-1").status is Status.PARKED
    assert "the shelf is locked" in town.state("o-1").parked
    assert town.sql("inventory", "SELECT stand FROM amends_hop ORDER BY at DESC LIMIT 1") == [("parked",)]


def test_a_saga_exists_if_and_only_if_its_transaction_commits(ground: Ground) -> None:
    town = Town(ground)

    async def main() -> None:
        async with town.open():
            with town.ground.connected("orders") as connection:
                town.apps["orders"].start(place_order, Order("o-1", 100), within=connection, id="o-1")
                connection.rollback()
            town.start(Order("o-2", 100))
            await town.until(lambda: town.stand("o-2") == "ended")

    asyncio.run(main())
    assert town.stand("o-1") == ""
    assert town.done("inventory") == [("reserve", "o-2"), ("ship", "o-2")]


def test_the_same_start_twice_is_one_saga_and_another_under_its_id_is_refused(ground: Ground) -> None:
    town = Town(ground)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            town.start(Order("o-1", 100))
            with town.ground.connected("orders") as connection, pytest.raises(IdConflict):
                town.apps["orders"].start(place_order, Order("o-1", 200), within=connection, id="o-1")
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.done("payment") == [("charge", "o-1")]


def test_a_hundred_sagas_end_each_for_itself(ground: Ground) -> None:
    town = Town(ground)

    async def main() -> None:
        async with town.open():
            for number in range(100):
                town.start(Order(f"o-{number}", 5000 if number % 3 == 0 else 100))
            await town.until(lambda: town.sql("orders", "SELECT 1 FROM amends_home WHERE stand <> 'ended'") == [])

    asyncio.run(main())
    done = Counter(what for service in ("inventory", "payment") for what, _ in town.done(service))
    assert done == {"reserve": 100, "charge": 66, "ship": 66, "release": 34}


def test_a_cancel_turns_the_baton_round_before_the_point_of_no_return(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "charge":
            raise Retry.after(60.0)

    town = Town(ground, says)

    async def main() -> Word:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_hop WHERE stand = 'waiting'") != [])
            word = await town.apps["orders"].cancel("o-1", reason="changed my mind", actor="ada")
            await town.until(lambda: town.stand("o-1") == "ended")
            return word

    assert asyncio.run(main()) == ("accepted", "payment has the saga")
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]
    assert town.done("payment") == []


def test_a_cancel_that_comes_too_late_says_so(ground: Ground) -> None:
    town = Town(ground)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")
            with pytest.raises(TooLate, match="o-1: the saga has ended"):
                await town.apps["orders"].cancel("o-1", reason="too late")

    asyncio.run(main())


def test_an_operator_acts_at_home_and_the_act_travels_to_whoever_holds_the_saga(ground: Ground) -> None:
    locked = [True]

    def says(what: str, order: str) -> None:
        if what == "release" and locked[0]:
            raise Park("the shelf is locked")

    town = Town(ground, says)

    async def main() -> Word:
        async with town.open():
            town.start(Order("o-1", 5000))
            await town.until(lambda: town.stand("o-1") == "parked")
            locked[0] = False
            acts = town.apps["orders"].session.homes
            word = await acts.act("o-1", Wish("retry", "reserve", "ada", "unlocked"))
            await town.until(lambda: town.stand("o-1") == "ended")
            return word

    assert asyncio.run(main()).word == "accepted"
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]


def test_a_service_that_does_not_know_the_plan_yet_keeps_the_saga_until_it_does(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "CLAIM_SECONDS", 0.2)
    old = Town(ground, knows={"payment": []})
    new = Town(ground)

    async def before() -> None:
        async with old.open():
            old.start(Order("o-1", 100))
            await old.until(lambda: old.stand("o-1") == "unknown-plan")

    async def after() -> None:
        async with new.open():
            await new.until(lambda: new.stand("o-1") == "ended")

    asyncio.run(before())
    assert old.done("payment") == []
    asyncio.run(after())
    assert new.state("o-1").status is Status.COMPLETED
    assert new.done("payment") == [("charge", "o-1")]


def test_a_saga_past_its_deadline_turns_back_where_it_is(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    later = [0.0]
    for module in (hop, hops):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + later[0]))

    def says(what: str, order: str) -> None:
        if what == "charge":
            later[0] = 1000.0
            raise Retry.after(0.05)

    hasty = Saga("hasty", reserve, charge, pivot(ship), input=Order, output=ship, deadline=600.0)
    town = Town(ground, says, saga=hasty)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]


def test_what_has_ended_is_forgotten_after_the_horizon(ground: Ground) -> None:
    town = Town(ground, settings=Settings(inbox_horizon_seconds=2.0, events_kept_seconds=0.1))

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_inbox_ended") != [])
            await town.until(lambda: town.sql("inventory", "SELECT 1 FROM amends_inbox_ended") != [])
            await asyncio.sleep(2.1)  # it is the database that looks at its clock
            for app in town.apps.values():
                await app.session.clean()

    asyncio.run(main())
    for service in ("orders", "inventory", "payment"):
        for table in ("inbox", "hop", "home", "mark", "outbox"):
            assert town.sql(service, f"SELECT 1 FROM amends_{table}") == [], (service, table)


def test_whoever_started_it_may_wait_for_its_outcome(ground: Ground) -> None:
    locked = [True]

    def says(what: str, order: str) -> None:
        if what == "ship" and locked[0]:
            raise Park("no lorry")

    town = Town(ground, says)

    async def main() -> tuple[object, object]:
        async with town.open():
            town.start(Order("o-1", 100))
            orders = town.apps["orders"]
            with pytest.raises(UnknownSaga):
                await orders.outcome(place_order, "o-2", timeout=0.0)
            parked = await orders.outcome(place_order, "o-1", timeout=30.0)
            locked[0] = False
            await orders.session.homes.act("o-1", Wish("retry", "ship"))
            return parked, await orders.outcome(place_order, "o-1", timeout=30.0)

    parked, outcome = asyncio.run(main())
    assert isinstance(parked, Parked)
    assert outcome == Completed("parcel of r-o-1")


def test_a_saga_that_has_become_too_large_to_be_carried_is_for_a_person(ground: Ground) -> None:
    town = Town(ground, settings=Settings(payload_bytes=600))

    async def main() -> object:
        async with town.open():
            town.start(Order("o-1", 100))
            return await town.apps["orders"].outcome(place_order, "o-1", timeout=30.0)

    outcome = asyncio.run(main())
    assert isinstance(outcome, Parked)
    assert "its baton would have" in outcome.reason
    assert "300 are allowed" in outcome.reason


def test_a_baton_that_asks_for_another_command_than_its_history_says_is_put_aside(ground: Ground) -> None:
    """Whoever it is from, it is none of ours: nothing is done for it."""
    town = Town(ground)
    going = town.apps["orders"].built.routes[place_order.name, place_order.plan.fingerprint]
    saga = begun("orders", going, "nobody's", Start(b'{"id":"o-1","cents":100}'), Settings()).saga
    journey = Journey(saga, going, b"[]", Settings())
    journey.tell(Start(b'{"id":"o-1","cents":100}'), 1.0)
    baton = journey.next("orders", time.time()).baton
    assert baton is not None
    strange = baton_message(baton._replace(type="inventory.no-such-command"), "strange", "/strange")

    async def main() -> None:
        async with town.open():
            stock = town.apps["inventory"]
            stock.session.work.sender.post(commands_of("inventory"), strange)
            await town.until(lambda: stock.figures.refused == 1)

    asyncio.run(main())
    assert town.done("inventory") == []
    assert town.sql("inventory", "SELECT 1 FROM amends_hop") == []


def test_what_is_wanted_while_something_else_that_is_wanted_is_met_is_met_as_well(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time the service is about to write what follows, somebody wants something more."""
    town = Town(ground)
    goes_on, wanted = Hops._goes_on, list[Mark]()

    async def disturbed(self: Hops, came: Journey, at: At, *rest: Any) -> None:
        if at[0] == "charge" and len(wanted) < 2:
            wanted.append(Mark(came.saga, f"{len(wanted):032x}", "cancel", "", "ada", "changed my mind"))
            await self._asked("mark_keep", mark_row(wanted[-1], self.service, at_home=False))
        await goes_on(self, came, at, *rest)

    monkeypatch.setattr(Hops, "_goes_on", disturbed)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert len(wanted) == 2
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("payment") == []
    assert "bug in amends" not in caplog.text


def test_a_saga_that_its_home_sends_again_while_it_waits_for_an_attempt_makes_none_before_that(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "patience", lambda plan: 1.5)
    asked = Counter[str]()

    def says(what: str, order: str) -> None:
        asked[what] += 1
        if what == "charge":
            raise Retry.after(60.0)

    town = Town(ground, says)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            payment = town.apps["payment"]
            await town.until(lambda: payment.figures.repeated >= 2)

    asyncio.run(main())
    assert asked == {"reserve": 1, "charge": 1}
