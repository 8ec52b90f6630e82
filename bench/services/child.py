"""One process of a scene: a participant, or the orchestrator that is asked to keep sagas going.

    python -m bench.services.child '{"role": "participant", …}'

Says `ready`; then answers each line of its standard input with a line of JSON, until that ends.

Guarantees: an orchestrator is ready when it has run a saga through all services.
Must not: share a process with another side.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.contender import _fastest_loop
from bench.cpu import used
from bench.measure import Window, drive, run_many
from bench.services import weight

LONGEST_SECONDS = 10.0
OURS = ("amends", "choreographed")


@dataclass
class Config:
    """What a process is to be. databases: of the services that it hosts, by their names; of an orchestrator without
    a broker those are all of them."""

    role: str
    side: str
    broker: str
    prefix: str
    database: str = ""
    databases: dict[str, str] = field(default_factory=dict)
    batch: int = 1
    steps: int = 3


class Orchestrating:
    """What an orchestrator is asked."""

    def __init__(self, run: Callable[[], Awaitable[str]], sent: Callable[[], int]) -> None:
        self._run = run
        self._sent = sent
        self._ran = 0
        self._went_wrong: dict[str, int] = {}
        self._load: list[asyncio.Task[None]] = []
        self._times: list[tuple[float, float]] = []
        self._begun = 0
        self._open = False

    async def one(self) -> None:
        """A saga."""
        outcome = await self._run()
        self._ran += 1
        if outcome != "completed":
            self._went_wrong[outcome] = self._went_wrong.get(outcome, 0) + 1

    async def warm(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Run so many sagas, for what comes once: connections, plans, topics."""
        await run_many(self.one, asked["in_flight"], asked["sagas"])
        return {}

    async def window(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Keep so many going for so long; then let them end."""
        watched: dict[str, list[int]] = asked.get("watch", {})

        def meter() -> dict[str, float]:
            return {name: sum(_busy(pid) for pid in pids) for name, pids in watched.items()}

        gc.collect()
        gc.freeze()
        seconds: float = asked["seconds"]
        while True:
            try:
                return (await drive(self.one, asked["in_flight"], Window(asked["warm"], seconds, meter))).to_json()
            except RuntimeError:  # too few have ended: a slow machine needs a longer window
                if seconds > LONGEST_SECONDS:
                    raise
                seconds *= 3

    async def load(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Keep so many going until `stop`."""

        async def keep_going() -> None:
            while self._open:
                self._begun += 1
                since = time.monotonic()
                await self.one()
                self._times.append((since, time.monotonic()))

        self._open = True
        self._load = [asyncio.ensure_future(keep_going()) for _ in range(asked["in_flight"])]
        return {}

    async def stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Start no more; when each was begun and ended, those that have not ended after so many seconds aside."""
        self._open = False
        _, left = await asyncio.wait(self._load, timeout=asked["seconds"])
        for task in left:
            task.cancel()
        return {"begun": self._begun, "times": self._times}

    async def counts(self, _: dict[str, Any]) -> dict[str, Any]:
        """So far."""
        return {"sent": self._sent(), "ran": self._ran, "went_wrong": self._went_wrong, **weight.told(weight.weighed)}

    async def weigh(self, _: dict[str, Any]) -> dict[str, Any]:
        """From now on."""
        weight.begin()
        return {}


class Participating:
    """What a participant is asked."""

    def __init__(self, sent: Callable[[], int]) -> None:
        self._sent = sent

    async def counts(self, _: dict[str, Any]) -> dict[str, Any]:
        """So far."""
        return {"sent": self._sent(), **weight.told(weight.weighed)}

    async def weigh(self, _: dict[str, Any]) -> dict[str, Any]:
        """From now on."""
        weight.begin()
        return {}


def _busy(pid: int) -> float:
    seconds = used(pid)
    return seconds["sessions"] + seconds["aside"]


async def _hosted(config: Config, stack: AsyncExitStack) -> Callable[[], int]:
    """The participants of this process."""
    counts: list[Callable[[], int]] = []
    for service, database in config.databases.items():
        if config.side in OURS:
            from bench.services import ours

            part = ours.participating(service, database, config.broker, config.prefix, config.batch)
            counts.append(await stack.enter_async_context(part))
        else:
            from bench.services import bare

            other = bare.participating(service, database, config.broker, config.prefix, config.side)
            replies = await stack.enter_async_context(other)
            counts.append(lambda replies=replies: replies.done)  # type: ignore[misc]
    return lambda: sum(count() for count in counts)


async def _orchestrating(config: Config, stack: AsyncExitStack, hosted: Callable[[], int]) -> Orchestrating:
    if config.side in OURS:
        from bench.services import ours

        begin = ours.orchestrating if config.side == "amends" else ours.choreographing
        made = begin(config.database, config.broker, config.prefix, config.steps)
    else:
        from bench.services import bare

        made = bare.orchestrating(config.database, config.broker, config.prefix, config.steps, config.side)
    run, sent = await stack.enter_async_context(made)
    desk = Orchestrating(run, lambda: sent() + hosted())
    await desk.one()
    return desk


async def serve(config: Config) -> None:
    """Be it, until nobody asks any more."""
    async with AsyncExitStack() as stack:
        hosted = await _hosted(config, stack)
        desk: Any = Participating(hosted)
        if config.role == "orchestrator":
            desk = await _orchestrating(config, stack, hosted)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            print(json.dumps(await getattr(desk, asked["op"])(asked)), flush=True)


def main() -> None:
    """One process."""
    logging.basicConfig(level=logging.CRITICAL)  # that a broker is away is what is measured; a driver says so often
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(serve(Config(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
