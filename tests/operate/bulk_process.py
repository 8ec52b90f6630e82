"""The processes of the test in which a bulk operation is killed: its saga, a worker, and whoever runs the operation.

    BULK_URL=sqlite:////some/dir/jobs.db BULK_DIR=/some/dir python bulk_process.py worker     # until SIGTERM
    BULK_URL=… BULK_DIR=… python bulk_process.py run repair

While the file `down` is in BULK_DIR the far side is; what it did is in `calls.txt`, a line with saga and key for each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from amends import Context, Orchestrator, Park, Saga, Settings, step
from amends.operate.operations import Operations

DIRECTORY = Path(os.environ.get("BULK_DIR", "."))


@dataclass(frozen=True)
class Job:
    """What is to be done."""

    size: int = 1


@step
async def work(job: Job, ctx: Context) -> int:
    if (DIRECTORY / "down").exists():
        raise Park("the far side is down")
    end = os.open(DIRECTORY / "calls.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(end, f"{ctx.saga_id} {ctx.key}\n".encode())
    os.close(end)
    return job.size


@work.compensation
async def undo_work() -> None: ...


jobs = Saga("jobs", work, input=Job, output=work)


def orchestrator(url: str) -> Orchestrator:
    """One whose leases are short, those of bulk operations too."""
    return Orchestrator(url, sagas=[jobs], settings=Settings(poll_seconds=0.1, lease_seconds=1.0), migrate=True)


async def park_many(url: str, many: int) -> None:
    """Sagas that park, since the far side is down; then it is up again."""
    (DIRECTORY / "down").touch()
    async with orchestrator(url) as made:
        await asyncio.gather(*(made.run(jobs, Job(number), id=f"job-{number}") for number in range(many)))
    (DIRECTORY / "down").unlink()


async def main(role: str, *bulks: str) -> None:
    """Work, or run a bulk operation."""
    made = orchestrator(os.environ["BULK_URL"])
    if role == "worker":
        async with made:
            print("ready", flush=True)  # noqa: T201  # the test waits for it
            await asyncio.Event().wait()
    async with made.client():
        print("ready", flush=True)  # noqa: T201  # the test waits for it
        await Operations(made.session).bulk_run(bulks[0])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
