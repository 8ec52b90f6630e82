"""An orchestrator in memory under a virtual clock, and what tests ask of it.

What it is: the running engine without files, threads or waiting; an hour takes a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from amends import Context, Orchestrator, Saga, Settings
from amends.decide.state import State
from amends.run.session import state_of
from amends.store.memory import MemoryDatabase, MemoryStore
from amends.testing.virtual import Inline, VirtualLoop, run_virtually

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """The input of most sagas here."""

    cents: int = 100


def virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine under a virtual clock."""
    return run_virtually(main)


def database() -> MemoryDatabase:
    """A database on the virtual clock of the running loop; several workers may share it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return MemoryDatabase(clock=loop.now)


def engine(
    *sagas: Saga[Any, Any],
    on: MemoryDatabase | None = None,
    resources: Sequence[Callable[..., Any]] = (),
    around: Sequence[Callable[[Context], Any]] = (),
    settings: Settings | None = None,
) -> Orchestrator:
    """An orchestrator on a database in memory; sync steps run at once, on the loop."""
    store = MemoryStore(database() if on is None else on)
    built = Orchestrator(store, sagas=sagas, resources=resources, around=around, settings=settings)
    built.config = replace(built.config, threads=Inline())
    return built


async def state(orchestrator: Orchestrator, saga_id: str) -> State:
    """What the journal says of a saga."""
    loaded = await orchestrator.session.store.load(saga_id)
    assert loaded is not None
    return state_of(loaded)


async def status(orchestrator: Orchestrator, saga_id: str) -> str:
    """What the head row says of a saga."""
    head = await orchestrator.session.store.head(saga_id)
    assert head is not None
    return head.status


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, in bounded time of whatever clock the loop has."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
