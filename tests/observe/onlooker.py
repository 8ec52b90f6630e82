"""Whoever observes an engine in memory, and what tests ask of it.

What it is: a list of events, and orchestrators under a virtual clock that tell it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from engine import engine

from amends import Orchestrator, Saga, Settings
from amends.observe.events import NAMES, Event
from amends.observe.hub import Observer
from amends.store.memory import MemoryDatabase

LEASE = Settings(lease_seconds=15.0)


class Onlooker:
    """Keeps all it is told."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.told.append(event)

    def names(self, *but: str) -> list[str]:
        """What it was told, in a word each, but for what workers and stores say of themselves."""
        left = ("worker", "lease", "batch", *but)
        return [NAMES[type(event)] for event in self.told if not NAMES[type(event)].startswith(left)]

    def of(self, kind: type[Event]) -> list[Any]:
        """What it was told of one kind."""
        return [event for event in self.told if isinstance(event, kind)]


def watched(
    *sagas: Saga[Any, Any],
    by: Observer,
    on: MemoryDatabase | None = None,
    settings: Settings | None = None,
) -> Orchestrator:
    """An orchestrator in memory that is observed."""
    built = engine(*sagas, on=on, settings=settings)
    built.config = replace(built.config, observers=(by,))
    return built


@contextlib.asynccontextmanager
async def killed(orchestrator: Orchestrator) -> AsyncIterator[Orchestrator]:
    """A worker that is gone at the end of the block, as after `kill -9`: nothing is let go, nobody is told."""
    await orchestrator._enter(work=True)
    yield orchestrator
    session = orchestrator.session
    assert session.worker is not None
    session.worker.ownership.halt()
    session.hub.on = False
    session.hub._observers = ()
    session.worker._drop_all()
    if session.worker._committer is not None:
        session.worker._committer.close()
    await session.store.close()
