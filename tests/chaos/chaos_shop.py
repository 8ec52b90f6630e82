"""The sagas of the chaos test, what their orders do to them, and the orchestrator.

What it is: an app for `amends worker chaos_shop:orchestrator`. An order's mood says what goes wrong;
where the sagas and the ledger are, and in which of its forms the saga `buy` is deployed, says the environment.
Guarantees: every effect is in the ledger, which knows keys and tombstones and nothing of amends.
Must not: make up a key, or tell the checker anything.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from chaos_books import Books
from chaos_money import ON_SERVER, transfer_money
from ledger import Ledger

from amends import (
    Context,
    Orchestrator,
    Park,
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

PLACE = Path(os.environ.get("CHAOS_DIRECTORY", "."))
BOOKS = Path(os.environ.get("CHAOS_BOOKS", "."))
DATABASE = os.environ.get("CHAOS_DATABASE") or f"sqlite:///{PLACE / 'sagas.db'}"
LEDGER = os.environ.get("CHAOS_LEDGER", "")  # a PostgreSQL server's database; a file where there is none
FORM = os.environ.get("CHAOS_FORM", "plain")
SOON = Retry(attempts=4, first_delay=0.02, cap=0.2)
LONG = Retry(attempts=30, first_delay=0.05, cap=0.5)
ODD = ("\x1b[2Jgone", "nul \x00 in it", "lone \ud800 surrogate", "l" * 5000, "two\nlines\r", "\u202eright to left")
LEASE_SECONDS = 2.0


@dataclass(frozen=True)
class Order:
    """What is bought, and the mood it is in. `where`: the step that the mood meets."""

    cents: int
    mood: str = "good"
    where: str = ""


@dataclass(frozen=True)
class Approval:
    """A person's answer."""

    granted: bool
    note: str = ""


class Unspeakable(Exception):
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _hit(ctx: Context, order: Order) -> bool:
    return order.where == ctx.step


def _odd(number: int) -> BaseException:
    kinds = (Unspeakable(), SystemExit(3), GeneratorExit(), asyncio.CancelledError(), RecursionError())
    return random.choice([*kinds, ValueError(ODD[number % len(ODD)]), OSError(28, ODD[0])])


async def act(ctx: Context, ledger: Ledger, order: Order) -> None:
    """An effect at the participant, and what the order's mood makes of it."""
    mood = order.mood if _hit(ctx, order) else "good"
    if mood == "declined":
        raise Reject("declined " + ODD[ctx.attempt % len(ODD)])
    if mood == "parks" and not (BOOKS / f"mended-{ctx.saga_id}").exists():
        (BOOKS / f"mended-{ctx.saga_id}").touch()
        raise Park("a person is needed")
    if mood == "poison":
        os._exit(9)
    if mood in ("flaky", "odd") and ctx.attempt < 3 and random.random() < 0.5:
        raise _odd(ctx.attempt) if mood == "odd" else ConnectionError("no answer")
    if not ledger.do(ctx.key, ctx.saga_id, ctx.address, order.cents):
        raise Reject("it was undone before it came")
    if mood in ("slow", "hangs"):
        await asyncio.sleep(0.4 if mood == "slow" else 600)
    if mood == "lost" or (mood in ("flaky", "odd") and ctx.attempt < 3):
        raise _odd(ctx.attempt) if mood == "odd" else TimeoutError("the answer was lost")
    await asyncio.sleep(0.01)


async def undo(ctx: Context, ledger: Ledger, order: Order) -> None:
    """The undo of it; with some orders it fails, with some only until a person has looked."""
    if order.mood == "sticks" and _hit(ctx, order) and not (BOOKS / f"mended-{ctx.saga_id}").exists():
        (BOOKS / f"mended-{ctx.saga_id}").touch()
        raise Reject("the undo is refused")
    if random.random() < 0.05:
        raise ConnectionError("no answer to the undo")
    ledger.undo(ctx.key, ctx.action_key, ctx.saga_id, ctx.address)


@step(retry=SOON, timeout=1.0)
async def reserve(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await act(ctx, ledger, order)


@step(retry=SOON, timeout=1.0)
async def charge(order: Order, ledger: Resource[Ledger], ctx: Context) -> int:
    await act(ctx, ledger, order)
    return order.cents


@step(retry=SOON, timeout=1.0)
async def pack(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await act(ctx, ledger, order)


@step(name="wrap", retry=SOON, timeout=1.0)
async def pack_renamed(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await act(ctx, ledger, order)


@step(retry=SOON, timeout=0.3)
def label(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    """In a thread; some of these hear nothing when they are told to stop."""
    if not ledger.do(ctx.key, ctx.saga_id, ctx.address, order.cents):
        raise Reject("it was undone before it came")
    if order.mood == "odd" and ctx.attempt == 1:
        raise StopIteration
    if order.mood == "deaf":
        time.sleep(1.5)


@step(retry=SOON, timeout=1.0)
async def pay_part(part: int, order: Order, ledger: Resource[Ledger], ctx: Context) -> int:
    await act(ctx, ledger, Order(part, order.mood, "pay_part" if part % 5 == 0 else ""))
    return part


@reserve.compensation(retry=LONG, timeout=1.0)
@charge.compensation(retry=LONG, timeout=1.0)
@pack.compensation(retry=LONG, timeout=1.0)
@pack_renamed.compensation(retry=LONG, timeout=1.0)
async def take_back(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await undo(ctx, ledger, order)


@label.compensation(retry=LONG, timeout=2.0)
def unlabel(ledger: Resource[Ledger], ctx: Context) -> None:
    ledger.undo(ctx.key, ctx.action_key, ctx.saga_id, ctx.address)


@pay_part.compensation(retry=LONG, timeout=1.0)
async def pay_back(part: int, ledger: Resource[Ledger], ctx: Context) -> None:
    await undo(ctx, ledger, Order(part))


@step(retry=SOON, timeout=1.0)
async def settle(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    """A pivot: its success is the point of no return."""
    await act(ctx, ledger, order)


async def _late(ctx: Context, ledger: Ledger, order: Order) -> None:
    """After the pivot: it fails at times, and is tried without end."""
    if random.random() < 0.2:
        raise ConnectionError("later")
    ledger.do(ctx.key, ctx.saga_id, ctx.address, order.cents)


@step(retry=SOON, timeout=1.0)
async def ship(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await _late(ctx, ledger, order)


@step(retry=SOON, timeout=1.0)
async def inspect(order: Order, ledger: Resource[Ledger], ctx: Context) -> None:
    await _late(ctx, ledger, order)


@step(retry=SOON, timeout=2.0)
def receipt(order: Order, ledger: Resource[Ledger], ctx: Context) -> str:
    ledger.do(ctx.key, ctx.saga_id, ctx.address, order.cents)
    return f"paid {order.cents}"


def parts(order: Order) -> list[int]:
    """What a bulk order pays in."""
    return list(range(1, 9))


def nap_of(order: Order) -> timedelta:
    """How long a nap takes."""
    return timedelta(milliseconds=order.cents % 900)


approval = wait_for("approval", Approval, reject_if=lambda answer: not answer.granted)
buy = Saga("buy", reserve, parallel(charge, sequence(pack, label)), pivot, ship, receipt, input=Order, output=receipt)
buy_added = Saga(
    "buy", reserve, parallel(charge, sequence(pack, label)), pivot, ship, receipt, inspect, input=Order, version="added"
)
buy_removed = Saga("buy", reserve, parallel(charge, pack), pivot, ship, input=Order, version="removed")
buy_renamed = Saga(
    "buy", reserve, parallel(charge, sequence(pack_renamed, label)), pivot, ship, input=Order, version="renamed"
)
decide = Saga("decide", reserve, pivot(settle), ship, input=Order)
approved = Saga("approved", reserve, approval, charge, pivot, ship, input=Order)
bulk = Saga("bulk", reserve, for_each(pay_part, over=parts, limit=3), input=Order)
nap = Saga("nap", reserve, sleep(nap_of), charge, input=Order)
FORMS: dict[str, list[Saga[Any, Any]]] = {
    "plain": [buy],
    "added": [buy_added],
    "removed": [buy_removed],
    "renamed": [buy_renamed],
    "all": [buy_removed, buy_renamed, buy_added, buy],
}
OTHERS: tuple[Saga[Any, Any], ...] = (decide, approved, bulk, nap, transfer_money)
PATHS: dict[str, tuple[frozenset[str], ...]] = {
    "buy": (
        frozenset({"reserve", "charge", "pack", "label", "ship", "receipt"}),
        frozenset({"reserve", "charge", "pack", "label", "ship", "receipt", "inspect"}),
        frozenset({"reserve", "charge", "pack", "ship"}),
        frozenset({"reserve", "charge", "wrap", "label", "ship"}),
    ),
    "decide": (frozenset({"reserve", "settle", "ship"}),),
    "approved": (frozenset({"reserve", "charge", "ship"}),),
    "bulk": (frozenset({"reserve", *(f"pay_part[{index}]" for index in range(8))}),),
    "nap": (frozenset({"reserve", "charge"}),),
    "transfer": (frozenset(),),
}


def the_ledger() -> Iterator[Ledger]:
    """The participant's books, one connection per worker."""
    ledger = Books(LEDGER, BOOKS) if LEDGER else Ledger(BOOKS / "ledger.db")
    yield ledger
    ledger.close()


orchestrator = Orchestrator(
    DATABASE,
    sagas=[*FORMS[FORM], *OTHERS],
    resources=[the_ledger],
    settings=Settings(
        poll_seconds=0.2,
        rest_seconds=0.3,
        in_flight=60,
        answer_seconds=6.0,
        drain_seconds=3.0,
        lease_seconds=LEASE_SECONDS,  # where there are leases
    ),
    migrate=ON_SERVER,
)
