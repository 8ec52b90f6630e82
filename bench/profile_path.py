"""The engine alone: `python -m bench.profile_path`, what a saga costs in Python, the store apart.

The order saga of the other benchmarks, a hundred in flight, on a store that keeps nothing and
answers one turn of the loop later. What is left is what amends itself costs: the door, the core,
the codec, the committer, the attempts; and the loop that carries them.

Guarantees: each figure is the best of many short rounds of processor time, by turns, which a busy
machine falsifies least; a rate of plain Python stands beside them, so that machines and days can
be compared. A sampling profiler (`py-spy record -- python -m bench.profile_path --flow happy`)
says where the time goes.
Must not: judge.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from amends import Orchestrator
from amends.store.base import Fate, Write
from amends.store.memory import MemoryStore
from bench.contender_amends import SAGAS
from bench.core import plain_loop
from bench.measure import run_many
from bench.order import FLOWS, ORDER

PLAIN = "plain Python: a call, a tuple, a small copy"
PLAIN_TURNS = 2_000


class NullStore(MemoryStore):
    """Keeps no saga. Whatever is to be written is said to be written, a turn of the loop later."""

    async def commit(self, worker: int | None, writes: Sequence[Write], *, aside: bool = False) -> list[Fate]:
        await asyncio.sleep(0)
        return [Fate.WRITTEN] * len(writes)


class Line(NamedTuple):
    """What was measured, and its microseconds each."""

    title: str
    micros: float


async def measure(flows: Sequence[str], in_flight: int, sagas: int, rounds: int) -> list[Line]:
    """The best round of each flow."""
    best: dict[str, float] = dict.fromkeys([PLAIN, *flows], float("inf"))
    async with Orchestrator(NullStore(), sagas=list(SAGAS.values())) as orchestrator:
        runs = {flow: lambda flow=flow: orchestrator.run(SAGAS[flow], ORDER) for flow in flows}
        for _ in range(rounds):
            best[PLAIN] = min(best[PLAIN], _plain())
            for flow, run in runs.items():
                best[flow] = min(best[flow], await _round(run, in_flight, sagas))
    return [Line(title, micros) for title, micros in best.items()]


def _plain() -> float:
    since = time.process_time()
    plain_loop(PLAIN_TURNS)
    return (time.process_time() - since) / PLAIN_TURNS * 1e6


async def _round(run: Callable[[], Awaitable[object]], in_flight: int, sagas: int) -> float:
    """The microseconds of a saga, what its rubbish costs included."""
    gc.collect()
    since = time.process_time()
    await run_many(run, in_flight, sagas)
    return (time.process_time() - since) / sagas * 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--sagas", type=int, default=1_000, help="sagas in a round")
    parser.add_argument("--rounds", type=int, default=40, help="rounds, of which the best counts")
    parser.add_argument("--uvloop", action="store_true", help="on uvloop, where that is installed")
    parser.add_argument("--flow", choices=FLOWS, action="append", help="by default both")
    given = parser.parse_args()
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if given.uvloop:
        import uvloop  # only where it was asked for

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        lines = runner.run(measure(given.flow or FLOWS, given.in_flight, given.sagas, given.rounds))
    print(f"Python {sys.version.split()[0]}, {given.in_flight} in flight, microseconds of processor time each")
    for line in lines:
        print(f"{line.title:<44}{line.micros:>10.2f}")


if __name__ == "__main__":
    main()
