"""What is told of sagas: as it happens, once it is on disk, in the same words in every way that a saga may go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asked import Stock, answer, placed
from engine import Order, database, engine, until, virtually
from onlooker import LEASE, Onlooker, killed, watched

from amends import Compensated, Completed, Context, Park, Parked, Reject, Retry, Saga, step, wait_for
from amends.decide.events import Phase
from amends.decide.wire import Command, Reply
from amends.observe import events as o
from amends.operate.operations import Operations

ONCE = Retry(attempts=1)


@step
async def book(order: Order) -> int:
    """The first step."""
    return order.cents


@book.compensation
async def unbook(ctx: Context) -> None:
    """Undo it."""


@step(retry=Retry(attempts=2, first_delay=5.0, jitter=0.0))
async def pay(order: Order, ctx: Context) -> None:
    """Reject odd prices, fail the first time at dear ones, park at free ones."""
    if order.cents % 2:
        raise Reject("odd, and the card is 4111 1111")
    if order.cents == 0:
        raise Park("free")
    if order.cents > 1000 and ctx.attempt == 1:
        raise ConnectionError("no line to 4111 1111")


@pay.compensation
async def unpay() -> None:
    """Undo it."""


trip = Saga("trip", book, pay, input=Order, output=book)


def run(order: Order, saga: Saga[Any, Any] = trip) -> tuple[Any, Onlooker]:
    """One saga, observed to its rest."""
    onlooker = Onlooker()

    async def main() -> Any:
        async with watched(saga, by=onlooker) as orchestrator:
            return await orchestrator.run(saga, order, id="one")

    return virtually(main()), onlooker


def test_a_saga_that_completes() -> None:
    outcome, onlooker = run(Order(100))

    assert outcome == Completed(100)
    assert onlooker.names() == [
        "saga.requested",
        "saga.started",
        *["attempt.began", "attempt.ended"] * 2,
        "saga.ended",
    ]
    assert {event.about[:3] for event in onlooker.of(o.SagaEnded)} == {("default", "trip", "one")}


def test_a_saga_that_goes_back_says_why_and_what_it_undoes() -> None:
    outcome, onlooker = run(Order(101))

    assert isinstance(outcome, Compensated)
    [turned] = onlooker.of(o.SagaTurnedBack)
    assert (turned.cause, turned.step) == ("rejected", "pay")
    attempts = [(e.step, e.phase, e.outcome, e.undoes) for e in onlooker.of(o.AttemptEnded)]
    assert attempts == [
        ("book", Phase.ACTION, "succeeded", 0),
        ("pay", Phase.ACTION, "rejected", 0),
        ("book", Phase.UNDO, "succeeded", 1),
    ]
    [ended] = onlooker.of(o.SagaEnded)
    assert ended.end == "compensated"


def test_an_attempt_that_fails_says_its_class_and_when_the_next_is_due() -> None:
    _, onlooker = run(Order(2000))

    first, second = [e for e in onlooker.of(o.AttemptEnded) if e.step == "pay"]
    assert (first.outcome, first.error, first.attempt) == ("unresolved", "ConnectionError", 1)
    assert (second.outcome, second.error, second.attempt) == ("succeeded", "", 2)
    [retry] = onlooker.of(o.RetryScheduled)
    assert retry.delay_seconds == pytest.approx(5.0, abs=0.1)


def test_no_word_of_an_error_and_no_payload_is_told() -> None:
    for cents in (0, 101, 2000):
        _, onlooker = run(Order(cents))
        assert "4111" not in repr(onlooker.told)
        assert "free" not in repr(onlooker.told)


def test_a_saga_that_parks_and_a_person_who_lets_it_go_on() -> None:
    onlooker = Onlooker()

    async def main() -> Any:
        async with watched(trip, by=onlooker) as orchestrator:
            parked = await orchestrator.run(trip, Order(0), id="one")
            people = Operations(orchestrator.session)
            await people.skip("one", "pay", actor="ada", reason="it was free")
            return parked, await orchestrator.handle(trip, "one").outcome()

    parked, outcome = virtually(main())
    assert isinstance(parked, Parked)
    assert outcome == Completed(0, closed=("pay",))
    names = onlooker.names("attempt")
    assert names == [
        "saga.requested",
        "saga.started",
        "step.stuck",
        "saga.parked",
        "act.taken",
        "saga.resumed",
        "saga.ended",
    ]
    [act] = onlooker.of(o.ActTaken)
    assert (act.verb, act.step) == ("skip", "pay")
    assert "ada" not in repr(onlooker.told), "who it was is in the history"


def test_of_a_saga_that_a_client_started_the_worker_tells_once_it_has_begun() -> None:
    onlooker = Onlooker()

    async def main() -> None:
        on = database()
        async with engine(trip, on=on).client() as client:
            await client.start(trip, Order(), id="one")
        async with watched(trip, by=onlooker, on=on) as worker:
            await worker.handle(trip, "one").outcome()

    virtually(main())
    assert onlooker.names("attempt") == ["saga.started", "saga.ended"]


def test_an_attempt_that_went_down_with_its_worker_is_told_by_who_takes_over() -> None:
    began = list[int]()

    @step(retry=Retry(attempts=5, first_delay=0.0), timeout=1000.0)
    async def hang(ctx: Context) -> None:
        began.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    @hang.compensation
    async def unhang() -> None: ...

    saga = Saga("slow", hang, input=Order)
    before, after = Onlooker(), Onlooker()

    async def main() -> Any:
        on = database()
        async with watched(saga, by=after, on=on, settings=LEASE) as second:
            async with killed(watched(saga, by=before, on=on, settings=LEASE)) as first:
                await first.start(saga, Order(), id="one")
                await until(lambda: bool(began))
            return await second.handle(saga, "one").outcome()

    assert virtually(main()) == Completed(None)
    assert before.names() == ["saga.requested", "saga.started", "attempt.began"]
    lost, won = after.of(o.AttemptEnded)
    assert (lost.lost, lost.outcome, lost.attempt, lost.seconds) == (True, "unresolved", 1, None)
    assert (won.lost, won.outcome, won.attempt) == (False, "succeeded", 2)
    assert "saga.started" not in after.names(), "it is the same saga"
    assert [event.deaths for event in after.of(o.SagaAdopted)] == [1]


def test_a_remote_step_is_told_from_the_command_to_the_reply() -> None:
    onlooker = Onlooker()

    async def main() -> Any:
        async with Stock(), watched(placed, by=onlooker) as orchestrator:
            return await orchestrator.run(placed, Order(101))

    assert isinstance(virtually(main()), Compensated)
    sent = [(e.command, e.step, e.phase, e.attempt) for e in onlooker.of(o.CommandSent)]
    assert sent == [("stock.reserve", "reserve", Phase.ACTION, 1), ("stock.reserve", "reserve", Phase.UNDO, 1)]
    ended = [e for e in onlooker.of(o.AttemptEnded) if e.command]
    assert [(e.phase, e.outcome, e.undoes) for e in ended] == [
        (Phase.ACTION, "succeeded", 0),
        (Phase.UNDO, "succeeded", 1),
    ]
    assert all(e.seconds is not None for e in ended)


def test_each_attempt_of_a_remote_step_ends_once_and_only_if_it_began() -> None:
    """Its first reply comes in the pause before the second; another saga's request falls over."""
    onlooker = Onlooker()

    def late(command: Command) -> Reply | None:
        return None if command.attempt == 1 else answer(command)

    async def main() -> Any:
        async with Stock(late) as stock, watched(placed, by=onlooker) as orchestrator:
            await orchestrator.start(placed, Order(100), id="one")
            await until(lambda: bool(onlooker.of(o.RetryScheduled)))
            await stock.reply(answer(stock.asked[0]), stock.asked[0].reply_to)
            return await orchestrator.handle(placed, "one").outcome(), await orchestrator.run(placed, Order(-1))

    done, refused = virtually(main())
    assert (done, type(refused)) == (Completed(7), Compensated)
    ended = [(e.about.key, e.attempt, e.outcome) for e in onlooker.of(o.AttemptEnded) if e.command]
    assert ended == [("one", 1, "unresolved")]


def test_a_signal_is_told_when_it_comes_and_when_it_came_too_early() -> None:
    word = wait_for("word", str)
    saga = Saga("patient", book, word, input=Order)
    onlooker = Onlooker()

    async def main() -> None:
        async with watched(saga, by=onlooker) as orchestrator:
            await orchestrator.start(saga, Order(), id="one")
            await orchestrator.signal("one", word, "go")
            await orchestrator.handle(saga, "one").outcome()

    virtually(main())
    assert [event.signal for event in onlooker.of(o.SignalTaken)][-1:] == ["word"]


def test_a_person_who_has_a_parked_saga_go_back_is_told_of_as_its_cause() -> None:
    onlooker = Onlooker()

    async def main() -> None:
        async with watched(trip, by=onlooker) as orchestrator:
            await orchestrator.run(trip, Order(0), id="one")
            await Operations(orchestrator.session).compensate("one", actor="ada", reason="no")
            await orchestrator.handle(trip, "one").outcome()

    virtually(main())
    assert [event.cause for event in onlooker.of(o.SagaTurnedBack)] == ["operator"]
    assert [event.end for event in onlooker.of(o.SagaEnded)] == ["compensated"]


def test_a_worker_tells_of_its_coming_its_batches_and_its_going() -> None:
    onlooker = Onlooker()

    async def main() -> None:
        async with watched(trip, by=onlooker, settings=LEASE) as orchestrator:
            await orchestrator.run(trip, Order())
            await asyncio.sleep(30)

    virtually(main())
    [came], [left] = onlooker.of(o.WorkerRegistered), onlooker.of(o.WorkerLeft)
    assert came.worker == left.worker
    assert len(onlooker.of(o.LeaseRenewed)) >= 2
    assert onlooker.of(o.WorkerLooked)
    assert sum(event.writes for event in onlooker.of(o.BatchWritten)) >= 3


def test_the_same_saga_tells_the_same_each_time() -> None:
    """Observing is no source of chance: what is told under a virtual clock is what was told before."""
    courses = [[(type(e), e[1:]) for e in run(Order(2000))[1].told] for _ in range(2)]

    assert courses[0] == courses[1]
