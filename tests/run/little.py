"""A little shop for tests with real processes: its sagas, its orchestrator, its worker.

    LITTLE_DB=/some/dir/sagas.db python little.py      # a worker, until SIGTERM

Every call of a step is a line in `calls.txt` beside the database: saga, step, phase, attempt, key.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from amends import Context, Orchestrator, Reject, Retry, Saga, Settings, pivot, sleep, step, wait_for

DATABASE = Path(os.environ.get("LITTLE_DB", "little.db")).absolute()
SOON = Retry(attempts=10, first_delay=0.01)


@dataclass(frozen=True)
class Order:
    """What is bought."""

    cents: int = 100
    refused: bool = False
    poison: bool = False
    nap: float = 0.0


@dataclass(frozen=True)
class Approval:
    """A person's answer."""

    granted: bool


class Call(NamedTuple):
    """One line of the book of calls."""

    saga: str
    step: str
    phase: str
    attempt: int
    key: str


def note(ctx: Context) -> None:
    """Write a call down; whole lines, also from several processes. Not where no file was named."""
    if "LITTLE_DB" not in os.environ:
        return
    line = f"{ctx.saga_id} {ctx.address} {ctx.phase} {ctx.attempt} {ctx.key}\n"
    end = os.open(DATABASE.with_name("calls.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(end, line.encode())
    os.close(end)


def calls(database: Path, saga: str | None = None) -> list[Call]:
    """The book of calls."""
    book = database.with_name("calls.txt")
    lines = book.read_text().splitlines() if book.exists() else []
    found = [Call(a, b, c, int(d), e) for a, b, c, d, e in (line.split() for line in lines)]
    return [call for call in found if saga in (None, call.saga)]


@step(retry=SOON)
async def reserve(order: Order, ctx: Context) -> None:
    note(ctx)


@reserve.compensation
async def release(ctx: Context) -> None:
    note(ctx)


@step(retry=SOON)
async def decide(order: Order, ctx: Context) -> None:
    note(ctx)
    if order.refused:
        raise Reject("refused")


@step
async def ship(order: Order, ctx: Context) -> str:
    note(ctx)
    return f"shipped {order.cents}"


@step(retry=Retry(attempts=1), timeout=60)
async def linger(order: Order, ctx: Context) -> None:
    """Returns once somebody has put a file `go` beside the database; only one attempt."""
    note(ctx)
    while not DATABASE.with_name("go").exists():
        await asyncio.sleep(0.01)


@linger.compensation
async def unlinger(ctx: Context) -> None:
    note(ctx)


@step(retry=SOON)
async def bite(order: Order, ctx: Context) -> None:
    """Takes its process down where the order is poison."""
    note(ctx)
    if order.poison:
        os._exit(9)
    await asyncio.sleep(0.05)


@bite.compensation
async def unbite(ctx: Context) -> None:
    note(ctx)


approval = wait_for("approval", Approval, reject_if=lambda answer: not answer.granted)
order_saga = Saga("order", reserve, pivot(decide), ship, input=Order, output=ship)
approved_saga = Saga("approved", reserve, approval, pivot(decide), ship, input=Order, output=ship)
lingering_saga = Saga("lingering", reserve, linger, pivot(decide), ship, input=Order, output=ship)
poisonous_saga = Saga("poisonous", reserve, bite, pivot(decide), ship, input=Order, output=ship)
napping_saga = Saga("napping", sleep(lambda order: timedelta(seconds=order.nap)), reserve, input=Order)
SAGAS = (order_saga, approved_saga, lingering_saga, poisonous_saga, napping_saga)


def shop(database: Path = DATABASE, **settings: float) -> Orchestrator:
    """The orchestrator on a file."""
    limits = Settings(**{"poll_seconds": 0.1, **settings})  # type: ignore[arg-type]  # the counts are left alone
    return Orchestrator(f"sqlite:///{database}", sagas=SAGAS, settings=limits)


orchestrator = shop()


async def work() -> None:
    """Work until SIGTERM, then drain."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with orchestrator:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(work())
