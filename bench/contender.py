"""One contender in one process of its own: `python -m bench.contender amends --in-flight 20`.

Prints one line of JSON. With `--count` it runs so many sagas and counts statements instead.

Guarantees: without a URL the file is fresh, in the directory given, and gone afterwards.
Must not: share a process with another contender.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import statements
from bench.cpu import used
from bench.measure import Window, drive, drive_threads, run_many, run_many_threads
from bench.order import FLOWS

JOURNALS = ("delete", "persist", "wal")


def opened(options: argparse.Namespace, url: str) -> AbstractAsyncContextManager[Callable[[], Any]]:
    """The contender, ready to run. Each is imported where it alone runs."""
    journal = "" if options.url else options.journal
    if options.name == "amends":
        from bench import contender_amends

        return contender_amends.running(url, options.flow, journal, alone=not options.shared)
    if options.name == "dbos":
        from bench import contender_dbos

        return contender_dbos.running(url, options.flow, options.variant, journal, options.in_flight)
    if options.name == "absurd":
        from bench import contender_absurd

        return contender_absurd.running(url, options.flow, options.in_flight)
    if options.name == "restate":
        from bench import contender_restate

        return contender_restate.running(options.flow, partial(setattr, options, "server"))
    if options.url:
        from bench import contender_bare_postgres

        return contender_bare_postgres.running(url, options.flow)
    from bench import contender_bare

    return contender_bare.running(Path(url.removeprefix("sqlite:///")), options.flow, journal)


async def measure(options: argparse.Namespace, url: str) -> dict[str, Any]:
    """One window of one contender."""
    async with opened(options, url) as run:
        meter = partial(used, options.server) if options.server else dict
        if options.ready:
            await _all_ready()
        gc.collect()
        gc.freeze()
        window = Window(options.warm, options.seconds, meter)
        if inspect.iscoroutinefunction(run):
            sample = await drive(run, options.in_flight, window)
        else:
            sample = await asyncio.to_thread(drive_threads, run, options.in_flight, window)
    return sample.to_json()


async def _all_ready() -> None:
    """Say that this one could begin, and wait until all could."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def count(options: argparse.Namespace, url: str) -> dict[str, Any]:
    """Statements and commits per saga; on PostgreSQL the server counts them."""
    counts = statements.watch()
    async with opened(options, url) as run:
        before = counts.copy()
        if inspect.iscoroutinefunction(run):
            await run_many(run, options.in_flight, options.count)
        else:
            await asyncio.to_thread(run_many_threads, run, options.in_flight, options.count)
        counts.subtract(before)
        return {kind: number / max(options.count, 1) for kind, number in counts.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("amends", "bare", "dbos", "absurd", "restate"))
    parser.add_argument("--flow", choices=FLOWS, default="happy")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--variant", default="threads", help="of dbos: async or threads")
    parser.add_argument("--journal", choices=JOURNALS, default="persist", help="how the file is kept")
    parser.add_argument("--count", type=int, help="run so many sagas and count statements")
    parser.add_argument("--dir", type=Path, help="where the file is to be")
    parser.add_argument("--url", help="a PostgreSQL database, instead of a file")
    parser.add_argument("--server", type=int, help="the server's process id: what it uses up is told too")
    parser.add_argument("--shared", action="store_true", help="others work on the same database")
    parser.add_argument("--ready", action="store_true", help="say when it could begin, and wait for a line")
    options = parser.parse_args()
    job = measure if options.count is None else count
    if options.url:
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            print(json.dumps(runner.run(job(options, options.url))))
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        print(json.dumps(asyncio.run(job(options, f"sqlite:///{Path(directory) / 'bench.db'}"))))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: for all alike, as `amends worker` does."""
    if find_spec("uvloop") is None:
        return None
    made: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return made


if __name__ == "__main__":
    main()
