"""What must hold of a saga with nobody in the middle where it is hardest: at the start, at the point of no return, and
where people, messages and clocks come at the wrong moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from travels import (
    FEW,
    Charge,
    Ground,
    Order,
    Reserve,
    Says,
    Town,
    charge,
    charge_card,
    ground_of,
    hurry,
    reserve,
    reserve_stock,
    ship,
)

from amends import Compensated, Completed, Park, Parked, Reject, Retry, Saga, Settings, pivot, when
from amends.decide.state import Status
from amends.decide.wire import KIND
from amends.errors import IdConflict, LimitExceeded, Refused, TooLate
from amends.run import hop, hops
from amends.run.mailbox import Wish
from amends.transport.base import Send
from amends.transport.local import LocalTransport


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    hurry(monkeypatch)


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database."""
    return ground_of(request, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Ground:
    """For what no database makes a difference to."""
    return Ground(tmp_path)


def outcome_of(town: Town, *orders: Order) -> Any:
    """Start some, and wait for the outcome of the last."""

    async def main() -> Any:
        async with town.open():
            for order in orders:
                town.start(order)
            return await town.apps["orders"].outcome(town.saga, orders[-1].id, timeout=30.0)

    return asyncio.run(main())


def parked_at(what: str, words: str, *, locked: list[bool]) -> Says:
    """One part needs a person, until it is unlocked."""

    def says(said: str, order: str) -> None:
        if said == what and locked[0]:
            raise Park(words)

    return says


def done(town: Town) -> list[str]:
    """All that was done, service by service."""
    return [what for service in ("inventory", "payment") for what, _ in town.done(service)]


ORDER, DEAR = Order("o-1", 100), Order("o-1", 5000)


# At the start


@reserve_stock.request(name="picky", retry=FEW)
def picky(order: Order) -> Reserve:
    """Says no before anything is sent, or falls over."""
    if order.cents == 0:
        raise Reject("nothing to pay")
    if order.cents < 0:
        raise ValueError("a negative price")
    return Reserve(order.id)


def dear(order: Order) -> bool:
    """Of a choice."""
    return order.cents > 500


def test_a_first_request_that_says_no_ends_the_saga_before_it_has_left(ground: Ground) -> None:
    town = Town(ground, saga=Saga("picky", picky, charge, input=Order))

    outcome = outcome_of(town, Order("o-1", 0))

    assert isinstance(outcome, Compensated)
    assert "nothing to pay" in outcome.reason
    assert done(town) == []


def test_a_saga_that_nobody_has_anything_to_do_for_is_completed(ground: Ground) -> None:
    town = Town(ground, saga=Saga("perhaps", when(dear, reserve), input=Order))

    assert outcome_of(town, ORDER) == Completed(None)
    assert done(town) == []


def test_a_first_request_that_falls_over_starts_nothing_and_says_so_to_whoever_starts(ground: Ground) -> None:
    town = Town(ground, saga=Saga("picky", picky, charge, input=Order))

    async def main() -> None:
        async with town.open():
            with pytest.raises(Refused, match="a negative price"):
                town.start(Order("o-1", -1))

    asyncio.run(main())
    assert town.stand("o-1") == ""


def test_the_same_start_at_the_same_time_is_one_saga(ground: Ground) -> None:
    town = Town(ground)

    def start(cents: int) -> bool:
        try:
            town.start(Order("o-1", cents))
        except IdConflict:
            return False
        return True

    async def main() -> list[bool]:
        async with town.open():
            with ThreadPoolExecutor(8) as threads:
                loop = asyncio.get_running_loop()
                started = await asyncio.gather(
                    *(loop.run_in_executor(threads, start, 100 + number % 2) for number in range(8))
                )
            await town.until(lambda: town.stand("o-1") == "ended")
            return started

    started = asyncio.run(main())
    assert sorted(started) == [False] * 4 + [True] * 4  # of two inputs one is first, and the other is another saga
    assert sorted(done(town)) == ["charge", "reserve", "ship"]


# What a request decides on the way


@charge_card.request(name="later_picky", retry=FEW)
def later_picky(order: Order) -> Charge:
    """The same, at the second hop."""
    if order.cents == 0:
        raise Reject("nothing to pay")
    if order.cents < 0:
        raise ValueError("a negative price")
    return Charge(order.id, order.cents)


def test_a_request_that_says_no_on_the_way_turns_the_saga_back_where_it_is(ground: Ground) -> None:
    town = Town(ground, saga=Saga("picky", reserve, later_picky, pivot(ship), input=Order))

    outcome = outcome_of(town, Order("o-1", 0))

    assert isinstance(outcome, Compensated)
    assert "nothing to pay" in outcome.reason
    assert done(town) == ["reserve", "release"]


def test_a_request_that_falls_over_on_the_way_is_for_a_person_who_may_have_the_saga_go_back(ground: Ground) -> None:
    town = Town(ground, saga=Saga("picky", reserve, later_picky, pivot(ship), input=Order))

    async def main() -> tuple[Any, Any]:
        async with town.open():
            town.start(Order("o-1", -1))
            orders = town.apps["orders"]
            parked = await orders.outcome(town.saga, "o-1", timeout=30.0)
            await orders.compensate("o-1", reason="its price is wrong")
            await town.until(lambda: town.stand("o-1") == "ended")
            return parked, await orders.outcome(town.saga, "o-1", timeout=30.0)

    parked, outcome = asyncio.run(main())
    assert isinstance(parked, Parked)
    assert "a negative price" in parked.reason
    assert isinstance(outcome, Compensated)
    assert done(town) == ["reserve", "release"]


@pytest.mark.parametrize("cents", [100, 600])
def test_a_choice_is_made_once_and_the_other_way_is_not_taken(ground: Ground, cents: int) -> None:
    saga = Saga("choice", reserve, when(dear, charge), pivot(ship), input=Order)
    town = Town(ground, saga=saga)

    assert outcome_of(town, Order("o-1", cents)) == Completed(None)

    assert done(town) == (["reserve", "ship", "charge"] if cents > 500 else ["reserve", "ship"])


# Going back


LENGTHS = (2, 4, 6)


def in_turn(number: int, cents: int) -> Any:
    """A step of a long saga: of one service, and of the other."""

    def ask_stock(order: Order) -> Reserve:
        return Reserve(str(number))

    def ask_bank(order: Order) -> Charge:
        return Charge(str(number), cents)

    if number % 2 == 0:
        return reserve_stock.request(name=f"s{number}", retry=FEW)(ask_stock)
    return charge_card.request(name=f"s{number}", retry=FEW)(ask_bank)


@pytest.mark.parametrize(("length", "fails_at"), [(n, i) for n in LENGTHS for i in range(1, n)])
def test_whichever_step_says_no_all_before_it_are_undone_in_reverse(file: Ground, length: int, fails_at: int) -> None:
    """F29. The steps are by turns of two services."""
    told: list[str] = []
    parts = [in_turn(number, 5000 if number == fails_at else 1) for number in range(length)]

    def says(what: str, order: str) -> None:
        told.append(f"{what} {order}")
        if what == "reserve" and order == str(fails_at):
            raise Reject("none left")

    town = Town(file, says, saga=Saga("chain", *parts, input=Order))

    outcome = outcome_of(town, ORDER)

    forward = [f"{'reserve' if number % 2 == 0 else 'charge'} {number}" for number in range(fails_at + 1)]
    back = [f"{'release' if number % 2 == 0 else 'refund'} {number}" for number in reversed(range(fails_at))]
    assert isinstance(outcome, Compensated)
    assert told == forward + back


def test_what_is_unsettled_is_told_exactly_where_an_undo_is_stuck(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "ship":
            raise Reject("no lorry")
        if what == "refund":
            raise Reject("the bank has closed")

    outcome = outcome_of(Town(ground, says), ORDER)

    assert isinstance(outcome, Parked)
    assert "the bank has closed" in outcome.reason
    assert [(entry.step, entry.undo) for entry in outcome.unsettled] == [("reserve", None), ("charge", "stuck")]


# The point of no return


def test_after_the_pivot_a_cancel_is_too_late_and_so_is_a_deadline(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = [True]
    later = [0.0]
    for module in (hop, hops):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + later[0]))
    saga = Saga("past", reserve, pivot(charge), ship, input=Order, output=ship, deadline=600.0)
    town = Town(ground, parked_at("ship", "no lorry", locked=locked), saga=saga)

    async def main() -> tuple[Any, Any]:
        async with town.open():
            orders = town.apps["orders"]
            town.start(ORDER)
            parked = await orders.outcome(saga, "o-1", timeout=30.0)
            with pytest.raises(TooLate):
                await orders.cancel("o-1", reason="changed my mind")
            later[0] = 1000.0
            locked[0] = False
            await orders.retry("o-1", "ship")
            await town.until(lambda: town.stand("o-1") == "ended")
            return parked, await orders.outcome(saga, "o-1", timeout=30.0)

    parked, outcome = asyncio.run(main())
    assert isinstance(parked, Parked)
    assert outcome == Completed("parcel of r-o-1")
    assert sorted(done(town)) == ["charge", "reserve", "ship"]


def test_the_answer_to_a_cancel_is_what_becomes_of_the_saga_whenever_it_comes(ground: Ground) -> None:
    """F33: it races every hop."""
    town = Town(ground)
    orders = [Order(f"o-{number}", 100) for number in range(24)]

    async def cancelled(order: Order, after: float) -> str:
        town.start(order)
        await asyncio.sleep(after)
        try:
            return (await town.apps["orders"].cancel(order.id, reason="changed my mind")).word
        except TooLate:
            return "too late"

    async def main() -> list[str]:
        async with town.open():
            words = await asyncio.gather(*(cancelled(order, 0.004 * number) for number, order in enumerate(orders)))
            await town.until(lambda: all(town.stand(order.id) == "ended" for order in orders))
            return words

    words = asyncio.run(main())
    for order, word in zip(orders, words, strict=True):
        status = town.state(order.id).status
        assert (word, status) in {("accepted", Status.COMPENSATED), ("too late", Status.COMPLETED)}, order.id
    moved = Counter(what for service in ("inventory", "payment") for what, _ in town.done(service))
    assert moved["reserve"] - moved["release"] == moved["ship"] == words.count("too late")
    assert moved["charge"] - moved["refund"] == moved["ship"]


def test_of_many_who_cancel_at_once_none_is_told_what_is_not_so(ground: Ground) -> None:
    """F30: it is undone once, whoever else wants that."""

    def says(what: str, order: str) -> None:
        if what == "charge":
            raise Retry.after(60.0)

    town = Town(ground, says)

    async def cancelled() -> str:
        try:
            return (await town.apps["orders"].cancel("o-1", reason="changed my mind")).word
        except TooLate:
            return "too late"

    async def main() -> list[str]:
        async with town.open():
            town.start(ORDER)
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_hop WHERE stand = 'waiting'") != [])
            words = await asyncio.gather(*(cancelled() for _ in range(6)))
            await town.until(lambda: town.stand("o-1") == "ended")
            return words

    words = asyncio.run(main())
    assert "accepted" in words
    assert set(words) <= {"accepted", "too late"}
    assert town.state("o-1").status is Status.COMPENSATED
    assert done(town) == ["reserve", "release"]


def test_of_many_who_have_it_tried_again_it_is_undone_once(ground: Ground) -> None:
    locked = [True]
    town = Town(ground, parked_at("release", "the shelf is locked", locked=locked))

    async def main() -> list[str]:
        async with town.open():
            town.start(DEAR)
            await town.until(lambda: town.stand("o-1") == "parked")
            locked[0] = False
            acts = town.apps["orders"].session.homes
            words = await asyncio.gather(
                *(acts.act("o-1", Wish("retry", "reserve", actor, "unlocked")) for actor in ("ada", "bob", "eve"))
            )
            await town.until(lambda: town.stand("o-1") == "ended")
            return [word.word for word in words]

    assert "accepted" in asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert done(town) == ["reserve", "release"]


# Messages


class Post:
    """All that is sent, kept; and sent again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
        self.sent: list[Send] = []
        self._times = times
        self._dice = random.Random(7)
        original = LocalTransport.publish

        async def publish(transport: LocalTransport, sends: Sequence[Send]) -> list[Exception | None]:
            self.sent += sends
            told = await original(transport, sends)
            for send in sends:
                for _ in range(self._times - 1):
                    delay = self._dice.random() * 0.05
                    asyncio.get_running_loop().call_later(delay, transport._put, send)
            return told

        monkeypatch.setattr(LocalTransport, "publish", publish)


def test_every_message_three_times_and_in_any_order_does_nothing_twice(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F13, F18 and F24."""
    Post(monkeypatch, times=3)
    town = Town(ground)
    orders = [Order(f"o-{number}", 5000 if number % 3 == 0 else 100) for number in range(12)]

    async def main() -> None:
        async with town.open():
            for order in orders:
                town.start(order)
            await town.until(lambda: all(town.stand(order.id) == "ended" for order in orders))

    asyncio.run(main())
    assert Counter(done(town)) == {"reserve": 12, "release": 4, "charge": 8, "ship": 8}


def test_all_that_was_ever_sent_comes_again_after_the_end_and_changes_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F65 and S13."""
    locked = [True]
    town = Town(ground, parked_at("release", "the shelf is locked", locked=locked))

    async def main() -> Any:
        post = Post(monkeypatch)
        async with town.open():
            town.start(DEAR)
            town.start(Order("o-2", 100))
            orders = town.apps["orders"]
            await town.until(lambda: town.stand("o-1") == "parked")
            locked[0] = False
            await orders.retry("o-1", "reserve")
            await town.until(lambda: {town.stand("o-1"), town.stand("o-2")} == {"ended"})
            before = town.sql("orders", "SELECT key, stand, history FROM amends_home ORDER BY key")
            again, sender = list(post.sent), orders.session.work.sender
            random.Random(3).shuffle(again)
            for send in again:
                assert await sender.send(send.to, send.message) is None
            town.start(Order("o-3", 100))
            await town.until(lambda: town.stand("o-3") == "ended")
        return before

    before = asyncio.run(main())
    after = town.sql("orders", "SELECT key, stand, history FROM amends_home WHERE key <> 'o-3' ORDER BY key")
    assert after == before
    told = [(what, who) for service in ("inventory", "payment") for what, who in town.done(service) if who != "o-3"]
    assert sorted(told) == [
        ("charge", "o-2"),
        ("release", "o-1"),
        ("reserve", "o-1"),
        ("reserve", "o-2"),
        ("ship", "o-2"),
    ]


# Limits, and what is strange


def test_a_history_has_a_bound_beyond_which_a_person_is_asked(ground: Ground) -> None:
    def says(what: str, order: str) -> None:
        if what == "ship":
            raise Retry.after(0.01)

    saga = Saga("endless", reserve, pivot(charge), ship.named("send"), input=Order)
    town = Town(ground, says, saga=saga, settings=Settings(history_lines=8))

    outcome = outcome_of(town, ORDER)

    assert isinstance(outcome, Parked)
    assert sorted(done(town)) == ["charge", "reserve"]


@dataclass(frozen=True)
class Long(Order):
    """An order with much to say."""

    words: str


@reserve_stock.request(name="reserve", retry=FEW)
def reserve_long(order: Long) -> Reserve:
    """Of an order that is long."""
    return Reserve(order.id)


def test_an_input_whose_baton_could_not_be_carried_is_refused_at_the_door(ground: Ground) -> None:
    saga: Saga[Any, Any] = Saga("long", reserve_long, input=Long)
    town = Town(ground, saga=saga, settings=Settings(payload_bytes=2000))

    async def main() -> None:
        async with town.open():
            with pytest.raises(LimitExceeded, match="1,000 are allowed"):
                town.start(Long("o-1", 100, "x" * 1500))
            town.start(Long("o-2", 100, "x" * 100))
            await town.until(lambda: town.stand("o-2") == "ended")

    asyncio.run(main())
    assert town.stand("o-1") == ""


# Plans that are not known everywhere


def test_a_saga_that_somebody_wants_to_go_back_is_kept_also_where_its_plan_is_not_known(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "CLAIM_SECONDS", 0.2)
    original = LocalTransport.publish

    async def publish(transport: LocalTransport, sends: Sequence[Send]) -> list[Exception | None]:
        """What is wanted is heard by the bank before the saga comes there, and by the stock never."""
        heard = [
            send
            for send in sends
            if (send.message.attributes.get(KIND), send.to.name) != ("mark", "inventory.commands")
        ]
        return [None] * (len(sends) - len(heard)) + await original(transport, heard)

    monkeypatch.setattr(LocalTransport, "publish", publish)

    async def wants(town: Town) -> None:
        act = town.apps["orders"].session.homes.act
        await act("o-1", Wish("cancel", "", "ada", "changed my mind"))

    async def before(town: Town) -> None:
        async with town.open("orders", "payment"):
            town.start(ORDER)
            wanted = asyncio.create_task(wants(town))
            await town.until(lambda: town.sql("payment", "SELECT 1 FROM amends_mark WHERE service = 'payment'") != [])
            async with town.open("inventory"):
                await town.until(lambda: town.stand("o-1") == "unknown-plan")
            wanted.cancel()

    async def after(town: Town) -> None:
        async with town.open():
            await town.until(lambda: town.stand("o-1") == "ended")

    old, town = Town(ground, knows={"payment": []}), Town(ground)
    asyncio.run(before(old))
    asyncio.run(after(town))
    assert town.state("o-1").status is Status.COMPENSATED
    assert done(town) == ["reserve", "release"]
