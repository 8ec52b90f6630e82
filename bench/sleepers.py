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
NAP_SECONDS = 10  # more than a worker keeps a resting saga in memory


@step(readonly=True)
async def look(order: Order) -> None:
    """Look at the order."""


waiting = Saga("waiting", look, wait_for("approval", bool, timeout=timedelta(days=90)), input=Order)
napping = Saga("napping", look, sleep(NAP_SECONDS), look.named("look_again"), input=Order)
quick = Saga("quick", look, input=Order)


def orchestrator(path: Path) -> Orchestrator:
    """On the file, with all three sagas."""
    return Orchestrator(f"sqlite:///{path}", sagas=[waiting, napping, quick])


async def _lay_down(path: Path, saga: Saga[Order, Any]) -> None:
    """One saga, up to where it waits."""
    async with orchestrator(path) as amends:
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


async def _idle(path: Path) -> dict[str, Any]:
    """A worker that has nothing to do: its memory, its statements, its processor time."""
    counts: Counter[str] = statements.watch()
    async with orchestrator(path) as amends:
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


async def _starts(path: Path) -> dict[str, Any]:
    """How long it takes to start another saga, and to see it through."""
    async with orchestrator(path) as amends:
        took, whole = [], []
        for _ in range(STARTS):
            since = time.perf_counter()
            handle = await amends.start(quick, ORDER)
            took.append(time.perf_counter() - since)
            await handle.outcome()
            whole.append(time.perf_counter() - since)
    return {"start": median(took) * 1e3, "whole": median(whole) * 1e3}


async def _storm(path: Path, timers: int) -> dict[str, Any]:
    """Timers that are all due while new sagas are started one after the other."""
    took: list[float] = []
    peak = 0.0
    async with orchestrator(path) as amends:
        store = amends.session.store
        heads = await store.find(Filter(statuses=("running",), limit=1))
        await asyncio.sleep(max((heads[0].wake_at or 0.0) - store.now(), 0.0))
        since = time.perf_counter()
        while not took or len(took) % 10 or await _running(store):
            begin = time.perf_counter()
            await amends.run(quick, ORDER)
            took.append((time.perf_counter() - begin) * 1e3)
            peak = max(peak, memory())
        seconds = time.perf_counter() - since
    took.sort()
    p99 = took[int(len(took) * 0.99)] if took else 0.0
    return {"seconds": seconds, "rate": timers / seconds, "p50": median(took or [0.0]), "p99": p99, "peak": peak}


async def _running(store: Store) -> int:
    return sum(count for (_, status), count in (await store.count()).items() if status == "running")


def _in_a_process(part: str, path: Path, timers: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.sleepers", "--part", part, "--file", str(path), "--storm", str(timers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(sagas: int, timers: int, rounds: int, directory: Path | None) -> list[str]:
    """The Markdown."""
    with tempfile.TemporaryDirectory(dir=directory) as home:
        one, many, storm = (Path(home) / name for name in ("one.db", "many.db", "storm.db"))
        for path in (one, many):
            asyncio.run(_lay_down(path, waiting))
        multiply(many, sagas)
        idle = {path: _in_a_process("idle", path) for path in (many, one)}
        starts: dict[Path, list[dict[str, Any]]] = {one: [], many: []}
        for _ in range(rounds):
            for path in (one, many):
                starts[path].append(_in_a_process("starts", path))
        asyncio.run(_lay_down(storm, napping))
        multiply(storm, timers)
        blown = _in_a_process("storm", storm, timers)
    return [
        *_idle_rows(sagas, idle[many], idle[one]),
        *_start_rows(starts[many], starts[one]),
        "",
        *_words(timers, blown),
    ]


def _idle_rows(sagas: int, many: dict[str, Any], one: dict[str, Any]) -> list[str]:
    return [
        f"| the worker with {sagas:,} waiting sagas | | with one | aim | |",
        "|---|---|---|---|---|",
        _row("memory, MB", many, one, "memory", "200", many["memory"] < 200),
        _row("sagas it holds", many, one, "held", "none", many["held"] == 0),
        _row("tasks", many, one, "tasks", "the same", many["tasks"] == one["tasks"]),
        _row("threads", many, one, "threads", "the same", many["threads"] == one["threads"]),
        _row("statements a second", many, one, "statements", "2", many["statements"] <= 2),
        _row("processor seconds a second", many, one, "cpu", "0.01", many["cpu"] < 0.01),
    ]


def _start_rows(many: list[dict[str, Any]], one: list[dict[str, Any]]) -> list[str]:
    """What another saga costs then: the medians of all rounds."""
    lines = []
    for what, title in (("start", "starting another, ms"), ("whole", "running it to its end, ms")):
        full, empty = ({what: median(row[what] for row in rows)} for rows in (many, one))
        aim = f"1.1 x, it is {full[what] / empty[what]:.2f} x"
        lines.append(_row(title, full, empty, what, aim, full[what] <= 1.1 * empty[what]))
    return lines


def _words(timers: int, blown: dict[str, Any]) -> list[str]:
    return [
        f"A storm: {timers:,} timers due at once were all done in {blown['seconds']:.1f} s ({blown['rate']:,.0f} a "
        f"second), in {blown['peak']:.0f} MB at most. Sagas started one after the other meanwhile took "
        f"{blown['p50']:.0f} ms (p50) and {blown['p99']:.0f} ms (p99)."
    ]


def _row(title: str, many: dict[str, Any], one: dict[str, Any], what: str, aim: str, held: bool) -> str:
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
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        print("\n".join(table(options.sagas, options.storm, options.rounds, options.dir)))
    elif options.part == "storm":
        print(json.dumps(asyncio.run(_storm(options.file, options.storm))))
    else:
        print(json.dumps(asyncio.run({"idle": _idle, "starts": _starts}[options.part](options.file))))


if __name__ == "__main__":
    main()
