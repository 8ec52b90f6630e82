"""The sagas of the crash sweep, one life of their worker, and what must hold after the last.

Scenarios go forward and backward, in a sequence and in a parallel block, through items, waits,
sleeps and steps with a transaction. A `Spot` says on which store: a file of its own, or a namespace
of a database that cases share.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
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
    Step,
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
LEASE_SECONDS = 0.6  # where there are leases
FROZEN_SECONDS = 1.0
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


@step(retry=OFTEN, timeout=FROZEN_SECONDS)
async def book_there(order: Order, tx: asyncpg.Connection, ctx: Context) -> Booking:
    """The same on a server, which takes a transaction from a frozen process a second after the timeout."""
    await tx.execute("INSERT INTO booked VALUES ($1, $2)", ctx.saga_id, order.cents)
    return Booking(order.cents)


@book_there.compensation(retry=OFTEN, timeout=FROZEN_SECONDS)
async def unbook_there(booking: Booking, tx: asyncpg.Connection, ctx: Context) -> None:
    await tx.execute("INSERT INTO booked VALUES ($1, $2)", ctx.saga_id, -booking.cents)


def thrice(order: Order) -> list[int]:
    """What a saga with items is about."""
    return [order.cents] * 3


word = wait_for("word", Word)


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


def _scenarios(book: Step[..., Any, Booking]) -> dict[str, Scenario]:
    """All of them, with a step that takes the store's transaction. The first two pass every fault point."""
    one_two = Saga("sequence", first, second, third, book, word, pivot(decide), last, input=Order)
    branches = (second, sequence(third.named("a"), third.named("b")), book, word, decide)
    side_by_side = Saga("parallel", first, parallel(*branches), input=Order)
    many = Saga("many", first, for_each(each, over=thrice, limit=2), pivot(decide), input=Order)
    slow = Saga("slow", first, sleep(0.05), word, second, pivot(decide), last, input=Order)
    booked = Saga("booked", first, book, pivot(decide), last, input=Order)
    found = (
        *_both("sequence", one_two, "first", "second", "third", "last"),
        *_both("parallel", side_by_side, "first", "second", "a", "b"),
        *_both("items", many, "first", "each[0]", "each[1]", "each[2]"),
        *_both("waiting", slow, "first", "second", "last"),
        *_both("transaction", booked, "first", "last"),
    )
    return {scenario.name: scenario for scenario in found}


SCENARIOS = _scenarios(book)
SERVER_SCENARIOS = _scenarios(book_there.named("book"))


@dataclass(frozen=True)
class Spot:
    """Where a case happens. directory: of its ledger. url: of a server's database; a file in the directory if empty.
    namespace: its own, in a database that cases share. late: so many sagas more are started by a worker that was
    stopped past its lease, once it goes on."""

    directory: Path
    url: str = ""
    namespace: str = "default"
    late: int = 0

    @property
    def names(self) -> list[str]:
        """The ids of its sagas: nobody else's, since cases may share a table, too."""
        prefix = f"{self.namespace}-" if self.url else ""
        return [f"{prefix}saga-{number}" for number in range(SAGAS + self.late)]

    def orchestrator(self, scenario: Scenario, ledger: Ledger) -> Orchestrator:
        """A worker or client here."""

        def the_ledger() -> Ledger:
            return ledger

        return Orchestrator(
            self.url or f"sqlite:///{self.directory}/sagas.db",
            sagas=[scenario.saga],
            resources=[the_ledger],
            settings=replace(SETTINGS, lease_seconds=LEASE_SECONDS),
            namespace=self.namespace,
            migrate=bool(self.url),
        )


async def live(
    scenario: Scenario, spot: Spot, turn: Callable[[], Awaitable[object]] | None = None, *, late: bool = False
) -> None:
    """One life of a worker: start what is to be started, as a client that tries again does, and
    stay until all have ended; then the same with those that are late, if this life is to. turn: what
    it waits for before it starts anything, at work already."""
    await _prepare(spot)
    ledger = Ledger(spot.directory / "ledger.db")
    order = Order(scenario.cents, scenario.refused)
    async with spot.orchestrator(scenario, ledger) as orchestrator:
        if turn is not None:
            await turn()
        for some in (spot.names[:SAGAS], spot.names[SAGAS:] if late else []):
            for name in some:
                await orchestrator.start(scenario.saga, order, id=name)
            await asyncio.gather(*(_follow(orchestrator, scenario, name) for name in some))
    ledger.close()


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


async def _prepare(spot: Spot) -> None:
    table = "CREATE TABLE IF NOT EXISTS booked (saga TEXT, cents INTEGER)"
    if not spot.url:
        with sqlite3.connect(spot.directory / "sagas.db") as file:
            file.execute(table)
        file.close()
        return
    server = await asyncpg.connect(spot.url.partition("?")[0])
    with contextlib.suppress(asyncpg.UniqueViolationError):  # two at once
        await server.execute(table)
    await server.close()


def check(scenario: Scenario, spot: Spot) -> list[str]:
    """What does not hold, in words."""
    return asyncio.run(_check(scenario, spot))


async def _check(scenario: Scenario, spot: Spot) -> list[str]:
    troubles: list[str] = []
    ledger = Ledger(spot.directory / "ledger.db")
    wanted = frozenset() if scenario.refused else scenario.steps
    orchestrator = spot.orchestrator(scenario, ledger)
    async with orchestrator.client():
        for name in spot.names:
            outcome = await orchestrator.handle(scenario.saga, name).outcome(timeout=1)
            troubles += _of_outcome(scenario, name, outcome)
            if ledger.standing(name) != wanted:
                troubles.append(f"{name}: {sorted(ledger.standing(name))} stand, {sorted(wanted)} should")
    effects = [(row.saga, row.step) for row in ledger.effects()]
    troubles += [f"{pair} had two keys" for pair in sorted(set(effects)) if effects.count(pair) > 1]
    balance = (SAGAS + spot.late) * scenario.cents * len(wanted)
    if ledger.balance() != balance:
        troubles.append(f"the ledger says {ledger.balance()}, it should be {balance}")
    troubles += await _of_bookings(scenario, spot)
    ledger.close()
    return troubles


def _of_outcome(scenario: Scenario, name: str, outcome: Any) -> list[str]:
    wanted = Compensated if scenario.refused else Completed
    if isinstance(outcome, Parked) or not isinstance(outcome, wanted):
        return [f"{name} ended as {outcome}"]
    return []


async def _of_bookings(scenario: Scenario, spot: Spot) -> list[str]:
    if "book" not in scenario.saga.program.steps:
        return []
    query = "SELECT saga, count(*), sum(cents) FROM booked GROUP BY saga ORDER BY saga"
    if spot.url:
        server = await asyncpg.connect(spot.url.partition("?")[0])
        rows = [tuple(row) for row in await server.fetch(query) if row[0] in spot.names]
        await server.close()
    else:
        with sqlite3.connect(spot.directory / "sagas.db") as connection:
            rows = connection.execute(query).fetchall()
        connection.close()
    missing = [f"{name} was not booked" for name in set(spot.names) - {row[0] for row in rows} if not scenario.refused]
    lines, cents = (2, 0) if scenario.refused else (1, scenario.cents)
    return missing + [
        f"{saga} was booked {count} times, {total} cents"
        for saga, count, total in rows
        if (count, total) != (lines, cents)
    ]


__all__ = ["SCENARIOS", "SERVER_SCENARIOS", "AmendsError", "Scenario", "Spot", "check", "live"]
