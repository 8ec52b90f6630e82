"""What a hundred thousand waiting sagas cost a worker: `python -m bench.sleepers`.

They wait for a signal, or for a timer that is months away. And a storm: thousands of timers
that are due at once, while new sagas are started.

Guarantees: the worker is a process of its own that has nothing else to do.
Must not: count what filling the file costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from amends import Orchestrator, Saga, sleep, step, wait_for
from amends.store.base import Filter, Store
from bench import statements
from bench.fill import multiply
from bench.order import ORDER, Order

IDLE_SECONDS = 10.0
STARTS = 200
CALM_MARGIN_SECONDS = 0.2
NAP_SECONDS = 10  # more than a worker keeps a resting saga in memory


@step(readonly=True)
async def look(order: Order) -> None:
    """Look at the order."""


waiting = Saga("waiting", look, wait_for("approval", bool, timeout=timedelta(days=90)), input=Order)
napping = Saga("napping", look, sleep(NAP_SECONDS), look.named("look_again"), input=Order)
quick = Saga("quick", look, input=Order)


def orchestrator(url: str) -> Orchestrator:
    """On a database, with all three sagas."""
    return Orchestrator(url, sagas=[waiting, napping, quick], migrate=True)


async def lay_down(url: str, saga: Saga[Order, Any]) -> None:
    """One saga, up to where it waits."""
    async with orchestrator(url) as amends:
        handle = await amends.start(saga, ORDER)
        while True:
            head = await amends.session.store.head(handle.saga_id)
            if head is not None and head.owner is None:
                return
            await asyncio.sleep(0.01)


def memory() -> float:
    """What this process has in memory, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _real(counts: Counter[str]) -> int:
    """Statements, without those that only begin and end a transaction."""
    return counts["reads"] + counts["writes"]


async def _idle(url: str) -> dict[str, Any]:
    """A worker that has nothing to do: its memory, its statements, its processor time."""
    counts: Counter[str] = statements.watch()
    async with orchestrator(url) as amends:
        await asyncio.sleep(1)
        worker = amends.session.worker
        held = 0 if worker is None else len(worker.lives)
        before, busy = _real(counts), time.process_time()
        await asyncio.sleep(IDLE_SECONDS)
        return {
            "memory": memory(),
            "statements": (_real(counts) - before) / IDLE_SECONDS,
            "cpu": (time.process_time() - busy) / IDLE_SECONDS,
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "held": held,
        }


async def _starts(url: str) -> dict[str, Any]:
    """How long it takes to start another saga, and to see it through."""
    async with orchestrator(url) as amends:
        took, whole = [], []
        for _ in range(STARTS):
            since = time.perf_counter()
            handle = await amends.start(quick, ORDER)
            took.append(time.perf_counter() - since)
            await handle.outcome()
            whole.append(time.perf_counter() - since)
    return {"start": median(took) * 1e3, "whole": median(whole) * 1e3}


async def _storm(url: str, timers: int) -> dict[str, Any]:
    """Timers that are all due while new sagas are started one after the other."""
    async with orchestrator(url) as amends:
        store = amends.session.store
        heads = await store.find(Filter(statuses=("running",), limit=1))
        due = heads[0].wake_at or 0.0
        calm, _ = await _quick_ones(amends, lambda: _truth(store.now() < due - CALM_MARGIN_SECONDS))
        await asyncio.sleep(max(due - store.now(), 0.0))
        since = time.perf_counter()
        took, peak = await _quick_ones(amends, lambda: _running(store))
        seconds = time.perf_counter() - since
    return {
        "seconds": seconds,
        "rate": timers / seconds,
        "p50": median(took),
        "p99": _share(took, 0.99),
        "calm_p50": median(calm or [0.0]),
        "calm_p99": _share(calm, 0.99),
        "peak": peak,
    }


async def _quick_ones(amends: Orchestrator, more: Callable[[], Awaitable[int]]) -> tuple[list[float], float]:
    """Start and see through one saga after the other, ten between two looks whether to go on; milliseconds of each,
    and the most that was in memory."""
    took: list[float] = []
    peak = 0.0
    while len(took) % 10 or await more():
        begin = time.perf_counter()
        await amends.run(quick, ORDER)
        took.append((time.perf_counter() - begin) * 1e3)
        peak = max(peak, memory())
    return took, peak


async def _truth(value: bool) -> int:
    return int(value)


def _share(took: list[float], share: float) -> float:
    return sorted(took)[int(len(took) * share)] if took else 0.0


async def _running(store: Store) -> int:
    return sum(count for (_, status), count in (await store.count(open_only=True)).items() if status == "running")


def in_a_process(part: str, url: str, timers: int = 0) -> dict[str, Any]:
    """One of the measurements, by a worker in a process of its own."""
    command = [sys.executable, "-m", "bench.sleepers", "--part", part, "--url", url, "--storm", str(timers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(sagas: int, timers: int, rounds: int, directory: Path | None) -> list[str]:
    """The Markdown."""
    with tempfile.TemporaryDirectory(dir=directory) as home:
        one, many, storm = (Path(home) / name for name in ("one.db", "many.db", "storm.db"))
        url = {path: f"sqlite:///{path}" for path in (one, many, storm)}
        for path in (one, many):
            asyncio.run(lay_down(url[path], waiting))
        multiply(many, sagas)
        idle = {path: in_a_process("idle", url[path]) for path in (many, one)}
        starts: dict[Path, list[dict[str, Any]]] = {one: [], many: []}
        for _ in range(rounds):
            for path in (one, many):
                starts[path].append(in_a_process("starts", url[path]))
        asyncio.run(lay_down(url[storm], napping))
        multiply(storm, timers)
        blown = in_a_process("storm", url[storm], timers)
    return [
        *_idle_rows(sagas, idle[many], idle[one]),
        *_start_rows(starts[many], starts[one]),
        "",
        *words(timers, blown),
    ]


def _idle_rows(sagas: int, many: dict[str, Any], one: dict[str, Any]) -> list[str]:
    return [
        f"| the worker with {sagas:,} waiting sagas | | with one | aim | |",
        "|---|---|---|---|---|",
        row("memory, MB", many, one, "memory", "200", many["memory"] < 200),
        row("sagas it holds", many, one, "held", "none", many["held"] == 0),
        row("tasks", many, one, "tasks", "the same", many["tasks"] == one["tasks"]),
        row("threads", many, one, "threads", "the same", many["threads"] == one["threads"]),
        row("statements a second", many, one, "statements", "2", many["statements"] <= 2),
        row("processor seconds a second", many, one, "cpu", "0.01", many["cpu"] < 0.01),
    ]


def _start_rows(many: list[dict[str, Any]], one: list[dict[str, Any]]) -> list[str]:
    """What another saga costs then: the medians of all rounds."""
    lines = []
    for what, title in (("start", "starting another, ms"), ("whole", "running it to its end, ms")):
        full, empty = ({what: median(row[what] for row in rows)} for rows in (many, one))
        aim = f"1.1 x, it is {full[what] / empty[what]:.2f} x"
        lines.append(row(title, full, empty, what, aim, full[what] <= 1.1 * empty[what]))
    return lines


def words(timers: int, blown: dict[str, Any]) -> list[str]:
    """What the storm was like."""
    return [
        f"A storm: {timers:,} timers due at once were all done in {blown['seconds']:.1f} s ({blown['rate']:,.0f} a "
        f"second), in {blown['peak']:.0f} MB at most. Sagas started one after the other took {blown['p50']:.0f} ms "
        f"(p50) and {blown['p99']:.0f} ms (p99) meanwhile, and {blown['calm_p50']:.0f} ms and {blown['calm_p99']:.0f} "
        f"ms before."
    ]


def row(title: str, many: dict[str, Any], one: dict[str, Any], what: str, aim: str, held: bool) -> str:
    """A line of the table, `what` it tells."""
    digits = ".0f" if many[what] == int(many[what]) or what == "memory" else ".3f" if what == "cpu" else ".1f"
    word = "reached" if held else "falls short"
    return f"| {title} | {many[what]:{digits}} | {one[what]:{digits}} | {aim} | {word} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=100_000)
    parser.add_argument("--storm", type=int, default=5_000, help="timers that are due at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where the files are to be")
    parser.add_argument("--part", choices=("idle", "starts", "storm"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        print("\n".join(table(options.sagas, options.storm, options.rounds, options.dir)))
    elif options.part == "storm":
        print(json.dumps(asyncio.run(_storm(options.url, options.storm))))
    else:
        print(json.dumps(asyncio.run({"idle": _idle, "starts": _starts}[options.part](options.url))))


if __name__ == "__main__":
    main()
