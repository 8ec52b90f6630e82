"""One contender in one process of its own: `python -m bench.contender amends --in-flight 20`.

Prints one line of JSON. With `--count` it runs so many sagas and counts statements instead.

Guarantees: the file is fresh, in the directory given, and gone afterwards.
Must not: share a process with another contender.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from bench import statements
from bench.measure import drive, drive_threads, run_many, run_many_threads
from bench.order import FLOWS

JOURNALS = ("delete", "persist", "wal")


def opened(options: argparse.Namespace, path: Path) -> AbstractAsyncContextManager[Callable[[], Any]]:
    """The contender, ready to run. Each is imported where it alone runs."""
    if options.name == "amends":
        from bench import contender_amends

        return contender_amends.running(path, options.flow, options.journal)
    if options.name == "bare":
        from bench import contender_bare

        return contender_bare.running(path, options.flow, options.journal)
    from bench import contender_dbos

    return contender_dbos.running(path, options.flow, options.variant, options.journal, options.in_flight)


async def measure(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """One window of one contender."""
    async with opened(options, path) as run:
        gc.collect()
        gc.freeze()
        if inspect.iscoroutinefunction(run):
            sample = await drive(run, options.in_flight, options.warm, options.seconds)
        else:
            sample = await asyncio.to_thread(drive_threads, run, options.in_flight, options.warm, options.seconds)
    return sample.to_json()


async def count(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Statements and commits per saga."""
    counts = statements.watch()
    async with opened(options, path) as run:
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
    parser.add_argument("name", choices=("amends", "bare", "dbos"))
    parser.add_argument("--flow", choices=FLOWS, default="happy")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--variant", default="threads", help="of dbos: async or threads")
    parser.add_argument("--journal", choices=JOURNALS, default="persist", help="how the file is kept")
    parser.add_argument("--count", type=int, help="run so many sagas and count statements")
    parser.add_argument("--dir", type=Path, help="where the file is to be")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        job = measure if options.count is None else count
        print(json.dumps(asyncio.run(job(options, Path(directory) / "bench.db"))))


if __name__ == "__main__":
    main()
