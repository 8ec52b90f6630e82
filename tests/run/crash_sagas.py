"""The sagas of the crash sweep, one life of their worker, and what must hold after the last.

Scenarios go forward and backward, in a sequence and in a parallel block, through items, waits,
sleeps and steps with a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger import Ledger

from amends import (
    Compensated,
    Completed,
    Context,
    Orchestrator,
    Parked,
    Reject,
    Resource,
    Retry,
    Saga,
    Settings,
    for_each,
    parallel,
    pivot,
    sequence,
    sleep,
    step,
    wait_for,
)
from amends.errors import AmendsError, TooLate

SAGAS = 3
IN_DOUBT = "an earlier attempt may have worked"
OFTEN = Retry(attempts=20, first_delay=0.001)
SETTINGS = Settings(rest_seconds=0.02, poll_seconds=0.05, answer_seconds=10.0)


@dataclass(frozen=True)
class Order:
    """What is bought."""

    cents: int
    refused: bool


@dataclass(frozen=True)
class Money:
    """What a step took."""

    cents: int


@dataclass(frozen=True)
class Booking:
    """What a transaction wrote."""

    cents: int


@dataclass(frozen=True)
class Word:
    """A person's answer."""

    text: str


async def act(ctx: Context, ledger: Ledger, cents: int) -> None:
    """An effect at the participant; a first attempt of some fails after it, as networks do."""
    if not ledger.do(ctx.key, ctx.saga_id, ctx.address, cents):
        raise Reject("it was undone before it came")
    await asyncio.sleep(0)
    if ctx.attempt == 1 and ctx.saga_id.endswith("1"):
        raise ConnectionError("the answer was lost")


async def undo(ctx: Context, ledger: Ledger) -> None:
    """The undo of it."""
    ledger.undo(ctx.key, ctx.action_key, ctx.saga_id, ctx.address)
    await asyncio.sleep(0)


@step(retry=OFTEN)
async def first(order: Order, ledger: Resource[Ledger], ctx: Context) -> Money:
    await act(ctx, ledger, order.cents)
    return Money(order.cents)


@first.compensation
async def undo_first(ledger: Resource[Ledger], ctx: Context) -> None:
    await undo(ctx, ledger)


@step(retry=OFTEN)
async def second(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await act(ctx, ledger, order.cents)


@second.compensation
async def undo_second(ledger: Resource[Ledger], ctx: Context) -> None:
    await undo(ctx, ledger)


@step(retry=OFTEN)
def third(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    """A sync step, in a thread."""
    if not ledger.do(ctx.key, ctx.saga_id, ctx.address, order.cents):
        raise Reject("it was undone before it came")


@third.compensation
def undo_third(ledger: Resource[Ledger], ctx: Context) -> None:
    ledger.undo(ctx.key, ctx.action_key, ctx.saga_id, ctx.address)


@step(retry=OFTEN)
async def decide(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    """The go or no-go."""
    if order.refused:
        raise Reject("refused")


@decide.compensation
async def undo_decide(ctx: Context) -> None:
    pass


@step(retry=OFTEN)
async def each(cents: int, ledger: Resource[Ledger], ctx: Context) -> None:
    await act(ctx, ledger, cents)


@each.compensation
async def undo_each(cents: int, ledger: Resource[Ledger], ctx: Context) -> None:
    await undo(ctx, ledger)


@step(retry=OFTEN)
def book(order: Order, tx: sqlite3.Connection, ctx: Context) -> Booking:
    """An effect with no key at all: only its transaction keeps it from happening twice."""
    tx.execute("INSERT INTO booked VALUES (?, ?)", (ctx.saga_id, order.cents))
    return Booking(order.cents)


@book.compensation
def unbook(booking: Booking, tx: sqlite3.Connection, ctx: Context) -> None:
    tx.execute("INSERT INTO booked VALUES (?, ?)", (ctx.saga_id, -booking.cents))


@step(retry=OFTEN)
async def last(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await act(ctx, ledger, order.cents)


word = wait_for("word", Word)
# These two pass every fault point.
_one_two = Saga("sequence", first, second, third, book, word, pivot(decide), last, input=Order)
_side_by_side = Saga(
    "parallel", first, parallel(second, sequence(third.named("a"), third.named("b")), book, word, decide), input=Order
)
_many = Saga("many", first, for_each(each, over=lambda order: [order.cents] * 3, limit=2), pivot(decide), input=Order)
_slow = Saga("slow", first, sleep(0.05), word, second, pivot(decide), last, input=Order)
_booked = Saga("booked", first, book, pivot(decide), last, input=Order)


@dataclass(frozen=True)
class Scenario:
    """One saga, going forward or back. steps: whose effects stand in the end, if it completes."""

    name: str
    saga: Saga[Order, None]
    refused: bool
    steps: frozenset[str]
    cents: int = 100


def _both(name: str, saga: Saga[Order, None], *steps: str) -> Iterator[Scenario]:
    yield Scenario(f"{name}-forward", saga, refused=False, steps=frozenset(steps))
    yield Scenario(f"{name}-backward", saga, refused=True, steps=frozenset(steps))


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        *_both("sequence", _one_two, "first", "second", "third", "last"),
        *_both("parallel", _side_by_side, "first", "second", "a", "b"),
        *_both("items", _many, "first", "each[0]", "each[1]", "each[2]"),
        *_both("waiting", _slow, "first", "second", "last"),
        *_both("transaction", _booked, "first", "last"),
    )
}


async def live(scenario: Scenario, directory: Path) -> None:
    """One life of a worker: start what is to be started, as a client that tries again does, and
    stay until all have ended."""
    _prepare(directory)
    ledger = Ledger(directory / "ledger.db")
    order = Order(scenario.cents, scenario.refused)
    names = [f"saga-{number}" for number in range(SAGAS)]
    async with _orchestrator(scenario, directory, ledger) as orchestrator:
        for name in names:
            await orchestrator.start(scenario.saga, order, id=name)
        await asyncio.gather(*(_follow(orchestrator, scenario, name) for name in names))
    ledger.close()


def _orchestrator(scenario: Scenario, directory: Path, ledger: Ledger) -> Orchestrator:
    def the_ledger() -> Ledger:
        return ledger

    url = f"sqlite:///{directory}/sagas.db"
    return Orchestrator(url, sagas=[scenario.saga], resources=[the_ledger], settings=SETTINGS)


async def _follow(orchestrator: Orchestrator, scenario: Scenario, name: str) -> None:
    if "word" in scenario.saga.program.signals:
        with contextlib.suppress(TooLate):  # an earlier life has sent it
            await orchestrator.signal(name, word, Word("go"), id=f"word-{name}")
    handle = orchestrator.handle(scenario.saga, name)
    outcome = await handle.outcome()
    if isinstance(outcome, Parked) and IN_DOUBT in outcome.reason:
        # The pivot's first attempt was killed, the second said no: nobody knows, so a person decides.
        session = orchestrator.session
        await session.act(name, "compensate", "", actor="ann", reason="the service says no", result=None)
        await handle.outcome()


def _prepare(directory: Path) -> None:
    with sqlite3.connect(directory / "sagas.db") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS booked (saga TEXT, cents INTEGER)")
    connection.close()


def check(scenario: Scenario, directory: Path) -> list[str]:
    """What does not hold, in words."""
    return asyncio.run(_check(scenario, directory))


async def _check(scenario: Scenario, directory: Path) -> list[str]:
    troubles: list[str] = []
    ledger = Ledger(directory / "ledger.db")
    wanted = frozenset() if scenario.refused else scenario.steps
    orchestrator = _orchestrator(scenario, directory, ledger)
    async with orchestrator.client():
        for number in range(SAGAS):
            name = f"saga-{number}"
            outcome = await orchestrator.handle(scenario.saga, name).outcome(timeout=1)
            troubles += _of_outcome(scenario, name, outcome)
            if ledger.standing(name) != wanted:
                troubles.append(f"{name}: {sorted(ledger.standing(name))} stand, {sorted(wanted)} should")
    effects = [(row.saga, row.step) for row in ledger.effects()]
    troubles += [f"{pair} had two keys" for pair in sorted(set(effects)) if effects.count(pair) > 1]
    balance = SAGAS * scenario.cents * len(wanted)
    if ledger.balance() != balance:
        troubles.append(f"the ledger says {ledger.balance()}, it should be {balance}")
    troubles += _of_bookings(scenario, directory)
    ledger.close()
    return troubles


def _of_outcome(scenario: Scenario, name: str, outcome: Any) -> list[str]:
    wanted = Compensated if scenario.refused else Completed
    if isinstance(outcome, Parked) or not isinstance(outcome, wanted):
        return [f"{name} ended as {outcome}"]
    return []


def _of_bookings(scenario: Scenario, directory: Path) -> list[str]:
    if "book" not in scenario.saga.program.steps:
        return []
    with sqlite3.connect(directory / "sagas.db") as connection:
        rows = connection.execute(
            "SELECT saga, count(*), sum(cents) FROM booked GROUP BY saga ORDER BY saga"
        ).fetchall()
    connection.close()
    lines, cents = (2, 0) if scenario.refused else (1, scenario.cents)
    return [
        f"{saga} was booked {count} times, {total} cents"
        for saga, count, total in rows
        if (count, total) != (lines, cents)
    ]


__all__ = ["SCENARIOS", "AmendsError", "Scenario", "check", "live"]
