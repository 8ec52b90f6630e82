"""How long sagas stand still whose worker is killed: `kill -9` with hundreds of them in flight.

Guarantees: every saga is in the middle of a step when its worker dies; the other worker has been there for a whole
lease, as it would; it has ended them all before the clock stops.
Must not: count what starting the processes takes.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from statistics import median
from typing import Any

import psycopg

from amends import Orchestrator, Saga, step
from amends.run.settings import Settings
from bench.order import ORDER, PAYMENT, RESERVATION, Order, Payment, Reservation
from bench.postgres.server import Server, database

DEFAULT_LEASE = Settings().lease_seconds
SLACK_SECONDS = 1.0
LOOK_SECONDS = 0.01
HELD = asyncio.Event()  # set where steps are to go on


@step
async def reserve_stock(order: Order) -> Reservation:
    """Reserve."""
    return RESERVATION


@reserve_stock.compensation
async def release_stock(reservation: Reservation | None) -> None:
    """Release."""


@step(timeout=3600)
async def charge_card(order: Order, reservation: Reservation) -> Payment:
    """Charge; in the worker that is killed this never returns."""
    await HELD.wait()
    return PAYMENT


@charge_card.compensation
async def refund(payment: Payment | None) -> None:
    """Refund."""


slow_order = Saga("slow-order", reserve_stock, charge_card, input=Order)


async def _work(url: str, lease: float, sagas: int) -> None:
    """A worker; with sagas, one whose steps do not return."""
    settings = Settings(lease_seconds=lease)
    if not sagas:
        HELD.set()
    async with Orchestrator(url, sagas=[slow_order], settings=settings, migrate=True) as amends:
        for _ in range(sagas):
            await amends.start(slow_order, ORDER)
        worker = amends.session.worker
        while worker is not None and sum(len(live.running) for live in worker.lives.values()) < sagas:
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def once(url: str, lease: float, sagas: int) -> tuple[float, float]:
    """Kill a worker; seconds until all its sagas belong to another, and until all have ended."""
    victim = _started(url, lease, sagas)
    other = _started(url, lease, 0)
    try:
        time.sleep(lease + 0.5)
        with psycopg.connect(url, autocommit=True) as connection:
            (before,) = _look(connection, "SELECT max(owner) FROM amends.saga WHERE status = 'running'")
            victim.kill()
            since = time.monotonic()
            moved = _until(connection, "SELECT count(*) FROM amends.saga WHERE owner = %s", before, since)
            ended = _until(connection, "SELECT count(*) FROM amends.saga WHERE status <> 'completed'", None, since)
    finally:
        victim.kill()
        other.communicate("\n", timeout=60)
        victim.wait()
    return moved, ended


def _look(connection: psycopg.Connection[Any], query: str, *values: object) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query.encode(), values).fetchone()
    if row is None:
        raise RuntimeError("nothing was counted")
    return row


def _until(connection: psycopg.Connection[Any], query: str, owner: int | None, since: float) -> float:
    while _look(connection, query, *([] if owner is None else [owner]))[0]:
        if time.monotonic() - since > 120:
            raise RuntimeError("the sagas were not taken over in two minutes")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - since


def _started(url: str, lease: float, sagas: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.postgres.takeover", "--url", url, "--lease", str(lease)]
    process = subprocess.Popen(
        [*command, "--sagas", str(sagas)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdout is None or process.stdout.readline().strip() != "ready":
        process.kill()
        raise RuntimeError("a worker has failed; its error is above")
    return process


def table(server: Server, sagas: int, rounds: int) -> list[str]:
    """The Markdown."""
    lines = [
        f"| lease, s | kills | {sagas} sagas belong to another after, s | all have ended after, s | aim | |",
        "|---|---|---|---|---|---|",
    ]
    for lease, times in ((3.0, rounds), (DEFAULT_LEASE, max(rounds // 2, 1))):
        found = []
        for _ in range(times):
            with database(server) as url:
                found.append(once(url, lease, sagas))
        moved, ended = ([pair[place] for pair in found] for place in (0, 1))
        word = "reached" if max(ended) <= lease + SLACK_SECONDS else "falls short"
        figures = " | ".join(f"{median(each):.1f} (at most {max(each):.1f})" for each in (moved, ended))
        lines.append(f"| {lease:g} | {times} | {figures} | {lease + SLACK_SECONDS:g} | {word} |")
    return lines


def main() -> None:
    """One worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--lease", type=float, default=DEFAULT_LEASE)
    parser.add_argument("--sagas", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(_work(options.url, options.lease, options.sagas))


if __name__ == "__main__":
    main()
