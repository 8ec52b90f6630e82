"""What an adversary does to the homes of sagas with nobody in the middle: plans that are gone, lost answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from travelpost import Post, kind
from travels import Charge, Ground, Order, Town, charge_card, ground_of, hurry, place_order, reserve, ship

from amends import Park, Parked, Retry, Saga, Settings, pivot
from amends.decide.state import Status
from amends.errors import Refused, TooLate
from amends.run import homes, hops

ORDER = Order("o-1", 100)


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


async def settled(town: Town, condition: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Whether a condition comes to hold in time."""
    try:
        async with asyncio.timeout(seconds):
            await town.until(condition)
    except TimeoutError:
        return False
    return True


def test_a_word_that_comes_twice_does_not_park_what_a_person_has_had_go_on(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(monkeypatch)
    locked = [True]

    def says(what: str, order: str) -> None:
        if what == "charge" and locked[0]:
            raise Park("the till is locked")
        if what == "ship":
            raise Retry.after(60.0)

    town = Town(ground, says)

    async def main() -> list[tuple[Any, ...]]:
        async with town.open():
            town.start(ORDER)
            orders = town.apps["orders"]
            await town.until(lambda: town.stand("o-1") == "parked")
            word = next(send for send in post.sent if kind(send) == "word")
            locked[0] = False
            await orders.retry("o-1", "charge")
            await town.until(lambda: town.stand("o-1") == "open")
            await orders.session.work.sender.send(word.to, word.message)
            await settled(town, lambda: town.stand("o-1") == "parked", 1.5)
            return town.sql("orders", "SELECT stand, due IS NULL FROM amends_home")

    assert asyncio.run(main())[0][0] == "open"


def test_a_cancel_that_was_accepted_is_not_told_to_be_too_late_where_the_answer_was_lost(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "AGAIN_SECONDS", 0.3)
    post = Post(monkeypatch)
    post.loses = lambda send: kind(send) == "answer" and sum(kind(one) == "answer" for one in post.sent) == 1

    def says(what: str, order: str) -> None:
        if what == "charge":
            raise Retry.after(60.0)

    town = Town(ground, says)

    async def main() -> str:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_hop WHERE stand = 'waiting'") != [])
            try:
                return (await town.apps["orders"].cancel("o-1", reason="changed my mind")).word
            except TooLate as error:
                return str(error)

    assert asyncio.run(main()) == "accepted"
    assert town.state("o-1").status is Status.COMPENSATED


def test_what_waits_at_a_service_that_does_not_know_its_plan_any_more_is_told_at_home(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "CLAIM_SECONDS", 0.2)
    monkeypatch.setattr(homes, "patience", lambda plan: 0.3)

    def says(what: str, order: str) -> None:
        if what == "charge":
            raise Retry.after(0.5)

    old = Town(ground, says)
    new = Town(ground, knows={"payment": []})

    async def before() -> None:
        async with old.open():
            old.start(ORDER)
            await old.until(lambda: old.sql("payment", "SELECT 1 FROM amends_hop WHERE stand = 'waiting'") != [])

    async def after() -> bool:
        async with new.open():
            return await settled(new, lambda: new.stand("o-1") == "unknown-plan")

    asyncio.run(before())
    assert asyncio.run(after()), new.stand("o-1")


def test_a_baton_that_comes_again_calls_no_handler_before_its_time(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(monkeypatch)
    asked = Counter[str]()

    def says(what: str, order: str) -> None:
        asked[what] += 1
        if what == "charge":
            raise Retry.after(60.0)

    town = Town(ground, says)

    async def main() -> None:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_hop WHERE stand = 'waiting'") != [])
            again = post.batons("charge")[0]
            sender = town.apps["orders"].session.work.sender
            for _ in range(5):
                await sender.send(again.to, again.message)
            await settled(town, lambda: asked["charge"] > 1, 2.0)

    asyncio.run(main())
    assert asked["charge"] == 1


@pytest.mark.parametrize("service", ["payment"])
def test_that_a_saga_has_ended_is_told_also_where_the_home_dies_before(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """It is killed within NOTICE_SECONDS of the end: what is in memory is gone."""
    monkeypatch.setattr(homes, "NOTICE_SECONDS", 3600.0)
    monkeypatch.setattr(homes, "TOLD_SECONDS", 0.5)
    first, second = Town(ground), Town(ground)

    async def killed() -> None:
        async with first.open():
            first.start(ORDER)
            await first.until(lambda: first.stand("o-1") == "ended")
            first.apps["orders"].session.homes._ended.clear()

    async def after() -> bool:
        monkeypatch.setattr(homes, "NOTICE_SECONDS", 0.1)
        async with second.open():
            return await settled(second, lambda: second.sql(service, "SELECT 1 FROM amends_inbox_ended") != [], 5.0)

    asyncio.run(killed())
    assert asyncio.run(after())


def test_a_home_that_was_given_only_a_newer_plan_looks_after_its_sagas_all_the_same(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sagas are lost on the way; what it does for them is in their rows."""
    monkeypatch.setattr(homes, "patience", lambda plan: 0.3)
    monkeypatch.setattr(homes, "NOTICE_SECONDS", 0.1)
    post = Post(monkeypatch)
    old, new = Town(ground), Town(ground, knows={"orders": []})

    async def before() -> None:
        post.loses = lambda send: kind(send) == "baton"
        async with old.open("orders"):
            old.start(ORDER)
            await old.until(lambda: old.sql("orders", "SELECT 1 FROM amends_outbox") == [])

    async def after() -> None:
        post.loses = lambda send: False
        async with new.open():
            await new.until(lambda: new.stand("o-1") == "ended")
            await new.until(lambda: new.sql("payment", "SELECT 1 FROM amends_inbox_ended") != [])
            await new.until(lambda: new.sql("orders", "SELECT 1 FROM amends_home WHERE due IS NOT NULL") == [])

    asyncio.run(before())
    asyncio.run(after())
    assert new.state("o-1").status is Status.COMPLETED


def test_a_cancel_goes_out_from_a_home_that_was_given_only_a_newer_plan(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "charge":
            raise Retry.after(60.0)

    old, new = Town(ground, says), Town(ground, says, knows={"orders": []})

    async def before() -> None:
        async with old.open():
            old.start(ORDER)
            await old.until(lambda: old.sql("payment", "SELECT 1 FROM amends_hop WHERE stand = 'waiting'") != [])

    async def after() -> str:
        async with new.open():
            return (await new.apps["orders"].cancel("o-1", reason="changed my mind")).word

    asyncio.run(before())
    assert asyncio.run(after()) == "accepted"


@pytest.mark.parametrize(("says", "most"), [(30.0, 3600.0), (7200.0, 7200.0)])
def test_silence_is_broken_at_the_latest_after_an_hour_or_what_the_plan_says(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, says: float, most: float
) -> None:
    """However often nothing was heard: what services remember has an end."""
    monkeypatch.setattr(homes, "patience", lambda plan: says)
    town = Town(ground)

    async def main() -> float:
        async with town.open("orders"):
            town.start(ORDER)
            town.sql("orders", "UPDATE amends_home SET tries = 30, due = 1")
            await town.until(lambda: town.sql("orders", "SELECT tries FROM amends_home") == [(31,)])
            due: float = town.sql("orders", "SELECT due FROM amends_home")[0][0]
            return due - time.time()

    assert asyncio.run(main()) == pytest.approx(most, abs=60.0)


@charge_card.request(retry=Retry(attempts=1000, first_delay=0.01, factor=1.0, jitter=0.0))
def charge_stubbornly(order: Order) -> Charge:
    """It has long breath."""
    return Charge(order.id, order.cents)


def sizes(post: Post) -> int:
    """How many bytes the largest message had."""
    return max(len(send.message.data) for send in post.sent)


@pytest.mark.parametrize("bytes_", range(1600, 3200, 400))
def test_what_could_not_be_carried_is_taken_back_told_at_home_and_can_go_back(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, bytes_: int
) -> None:
    post, long = Post(monkeypatch), "o" * 150
    town = Town(ground, settings=Settings(payload_bytes=bytes_))

    async def main() -> tuple[object, Counter[str]]:
        async with town.open():
            orders = town.apps["orders"]
            town.start(Order(long, 100))
            await town.until(lambda: town.stand(long) == "parked")
            there = done(town)
            parked = await orders.outcome(place_order, long, timeout=30.0)
            await orders.compensate(long, reason="too large")
            await town.until(lambda: town.stand(long) == "ended")
            return parked, there

    parked, there = asyncio.run(main())
    assert isinstance(parked, Parked)
    assert "its baton would have" in parked.reason
    assert town.state(long).status is Status.COMPENSATED
    assert done(town) == there + Counter(release=there["reserve"], refund=there["charge"])
    assert sizes(post) <= bytes_


def test_attempts_that_fail_and_fail_end_before_nobody_could_be_told(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(monkeypatch)

    def says(what: str, order: str) -> None:
        if what == "charge":
            raise OSError("no line to the bank " * 10)

    saga: Saga[Any, Any] = Saga("stubborn", reserve, charge_stubbornly, pivot(ship), input=Order)
    town = Town(ground, says, saga=saga, settings=Settings(payload_bytes=8000))

    async def main() -> None:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.stand("o-1") == "parked")
            await town.apps["orders"].compensate("o-1", reason="enough")
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert sizes(post) <= 8000


def test_a_result_by_hand_that_could_not_be_carried_is_refused(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(monkeypatch)

    def says(what: str, order: str) -> None:
        if what == "charge":
            raise Park("the till is locked")

    town = Town(ground, says, settings=Settings(payload_bytes=3000))

    async def main() -> None:
        async with town.open():
            orders = town.apps["orders"]
            town.start(ORDER)
            await town.until(lambda: town.stand("o-1") == "parked")
            with pytest.raises(Refused, match="2,250 are allowed"):
                await orders.resolve("o-1", "charge", reason="by hand", result=b'{"id": "' + b"z" * 2500 + b'"}')
            await orders.resolve("o-1", "charge", reason="by hand", result=b'{"id": "z"}')
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert sizes(post) <= 3000
