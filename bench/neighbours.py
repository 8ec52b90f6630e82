"""What sagas in trouble cost their neighbours: `python -m bench.neighbours`.

Healthy sagas begin at a steady rate; for every ten of them one begins beside them that fails each time it is tried, or
that asks a service which is not there. None of these ends, so there are ever more. One worker has all of them.

Guarantees: the three ways take turns, on a fresh file each time; only healthy sagas are timed, from their start to
their end.
Must not: count the first second.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from amends import Orchestrator, Retry, Saga, Service, step

AIM = 2.0
A_SECOND = 100
ONE_IN = 10
WARM_SECONDS = 1.0
AGAIN = Retry(attempts=1000, first_delay=0.2, cap=0.5)


@dataclass(frozen=True)
class Order:
    """What a saga is about."""

    cents: int


@step
async def reserve(order: Order) -> int:
    """Nearly nothing, so that what is measured is ours."""
    return order.cents


@reserve.compensation
async def release(order: Order) -> None:
    """Give it back."""


@step(retry=AGAIN)
async def fail(order: Order) -> None:
    """Fail, however often it is tried."""
    raise ConnectionError("the bank is away")


@fail.compensation
async def forget(order: Order) -> None:
    """Nothing has come of it."""


nobody = Service("nobody")
ask = nobody.command("ask", Order, reply=Order)


@ask.request(name="ask", retry=AGAIN, timeout=0.5)
def asking(order: Order) -> Order:
    """Ask a service that does not run."""
    return order


healthy = Saga("healthy", reserve, reserve.named("reserve_more"), reserve.named("reserve_most"), input=Order)
failing = Saga("failing", reserve, fail, input=Order)
unheard = Saga("unheard", reserve, asking, input=Order)
BESIDE: dict[str, Saga[Order, None] | None] = {
    "alone": None,
    "beside sagas that fail each time": failing,
    "beside sagas that ask a service which is not there": unheard,
}


async def latencies(path: Path, beside: Saga[Order, None] | None, seconds: float) -> list[float]:
    """How long each healthy saga took, in seconds."""
    found: list[float] = []
    sagas = [healthy, failing, unheard]
    async with Orchestrator(f"sqlite:///{path}", sagas=sagas, broker="local://neighbours", migrate=True) as amends:

        async def one(began: float) -> None:
            since = time.perf_counter()
            await (await amends.start(healthy, Order(5))).outcome()
            if since - began > WARM_SECONDS:
                found.append(time.perf_counter() - since)

        async with asyncio.TaskGroup() as group:
            began = time.perf_counter()
            async for number in ticks(seconds + WARM_SECONDS):
                group.create_task(one(began))
                if beside is not None and number % ONE_IN == 0:
                    group.create_task(_start(amends, beside))
    return found


async def _start(amends: Orchestrator, saga: Saga[Order, None]) -> None:
    await amends.start(saga, Order(5))


async def ticks(seconds: float) -> AsyncIterator[int]:
    """One for each saga that is to begin, at its time."""
    began = time.perf_counter()
    for number in range(int(seconds * A_SECOND)):
        await asyncio.sleep(max(began + number / A_SECOND - time.perf_counter(), 0))
        yield number


def table(rounds: int, seconds: float, directory: Path | None = None) -> list[str]:
    """The table, as Markdown."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, beside in BESIDE.items():
            with tempfile.TemporaryDirectory(dir=directory) as place:
                found[name] += asyncio.run(latencies(Path(place) / "sagas.db", beside, seconds))
    alone = percentile(found["alone"], 0.99)
    lines = [
        f"| {A_SECOND} healthy sagas a second | p50, ms | p99, ms | p99 to alone | aim | |",
        "|---|---|---|---|---|---|",
    ]
    for name, times in found.items():
        p99 = percentile(times, 0.99)
        reached = " | " if name == "alone" else f"{AIM:g} x | {'reached' if p99 <= AIM * alone else 'not reached'}"
        lines.append(
            f"| {name} | {1e3 * percentile(times, 0.5):.1f} | {1e3 * p99:.1f} | {p99 / alone:.2f} | {reached} |"
        )
    return lines


def percentile(times: list[float], share: float) -> float:
    """Of these times."""
    return sorted(times)[int(share * (len(times) - 1))]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each way, in each round")
    options = parser.parse_args()
    print("\n".join(table(options.rounds, options.seconds)))


if __name__ == "__main__":
    main()
