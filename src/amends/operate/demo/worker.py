"""The worker process of the demo: runs sagas until its standard input closes, or it is killed.

Guarantees: it leaves when whoever started it is gone, whatever way that went.
Must not: know that it is going to be killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from amends.operate.demo.system import Run, orchestrator_of
from amends.operate.demo.weather import BadLine


def command(run: Run) -> list[str]:
    """The command line of a worker."""
    values = (run.directory, run.count, run.seed, run.pace, run.slow, int(run.by_hand))
    return [sys.executable, "-m", "amends.operate.demo.worker", *map(str, values)]


async def work(run: Run) -> None:
    """Be a worker: say so on standard output, and work until told to leave."""
    line = BadLine(run.placed, run.pace, run.slow, run.certificate.exists)
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    loop.add_reader(sys.stdin.fileno(), _leave_at_end, sys.stdin.fileno(), leave)
    async with orchestrator_of(run, line):
        sys.stdout.write("at work\n")
        sys.stdout.flush()
        await leave.wait()


def _leave_at_end(source: int, leave: asyncio.Event) -> None:
    if not os.read(source, 1024):
        leave.set()


def main(arguments: list[str]) -> None:
    """Read the command line that `command` writes."""
    directory, count, seed, pace, slow, by_hand = arguments
    asyncio.run(work(Run(Path(directory), int(count), int(seed), float(pace), float(slow), by_hand == "1")))


if __name__ == "__main__":
    main(sys.argv[1:])
