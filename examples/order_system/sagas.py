"""What the sagas say of themselves, whichever style they are run in: in the orchestrator's store, or at their home.

Guarantees: nothing but reading.
Must not: judge.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import msgspec

from amends.decide.state import ENDED
from amends.operate.operations import Operations, operations
from amends.run.journal import Row, decode
from amends.run.journey import state_of_text
from amends.testing.account import Account, Misconduct

from .fleet import ROOT
from .saga import Order, place_order
from .servers import Servers

PAGE = 500
HOME = "SELECT key, stand, history FROM amends.home ORDER BY at"


class Said(NamedTuple):
    """A saga: its order, and its status. story: what its history tells that no saga may do."""

    order: Order
    status: str
    reason: str = ""
    story: str = ""


class Sagas(ABC):
    """All of them."""

    @abstractmethod
    async def count(self) -> tuple[int, int]:
        """How many move, and how many are at rest. Raises what a database raises that is away."""

    @abstractmethod
    async def said(self) -> list[Said]:
        """What every saga says of itself, oldest first."""

    @abstractmethod
    async def show(self, order: str) -> str:
        """One, for people."""


@asynccontextmanager
async def sagas_of(servers: Servers) -> AsyncGenerator[Sagas, None]:
    """Those of the system."""
    url = servers.databases["orders"]
    if servers.choreographed:
        yield AtHome(url)
    else:
        async with operations(url) as people:
            yield Conducted(people, url)


class Conducted(Sagas):
    """By an orchestrator."""

    def __init__(self, people: Operations, url: str) -> None:
        self._people = people
        self._url = url

    async def count(self) -> tuple[int, int]:
        counts = await self._people.session.store.count()
        moving = sum(number for (_, status), number in counts.items() if status in ("running", "compensating"))
        return moving, sum(counts.values()) - moving

    async def said(self) -> list[Said]:
        found: list[Said] = []
        before: str | None = None
        while True:
            page = await self._people.find(sagas=[place_order.name], before=before, limit=PAGE)
            found += [await self._said(line.id, line.status, line.reason) for line in page.sagas]
            if not page.more:
                return found[::-1]
            before = page.sagas[-1].id

    async def _said(self, saga_id: str, status: str, reason: str) -> Said:
        view = await self._people.show(saga_id)
        loaded = await self._people.session.store.load(saga_id)
        assert loaded is not None
        story = _story(map(decode, loaded.rows), status)
        return Said(msgspec.json.decode(view.input, type=Order), status, reason, story)

    async def show(self, order: str) -> str:
        return await asyncio.to_thread(_amends, "show", order, f"--database={self._url}")


class AtHome(Sagas):
    """With nobody in the middle: as the order service was told."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def count(self) -> tuple[int, int]:
        counts = Counter(stand for _, stand, _ in await self._rows())
        moving = counts["open"] + counts["unknown-plan"]
        return moving, sum(counts.values()) - moving

    async def said(self) -> list[Said]:
        return [self._said(stand, history) for _, stand, history in await self._rows()]

    def _said(self, stand: str, history: str) -> Said:
        state = state_of_text(history)
        status = str(state.status) if state.status in ENDED or stand == "parked" else stand
        story = _story(map(decode, msgspec.json.decode(history, type=list[msgspec.Raw])), status)
        return Said(msgspec.json.decode(state.input, type=Order), status, state.parked, story)

    async def show(self, order: str) -> str:
        for key, stand, history in await self._rows():
            if key == order:
                lines = [str(decode(row)) for row in msgspec.json.decode(history, type=list[msgspec.Raw])]
                return "\n".join([f"{order}: {stand}", *lines])
        return f"{order}: nothing is known of it"

    async def _rows(self) -> list[Any]:
        connection = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in await connection.fetch(HOME)]
        finally:
            await connection.close()


def _story(rows: Iterable[Row], status: str) -> str:
    """What a history tells that no saga may do, by rules that are not the engine's own."""
    try:
        account = Account(place_order.plan).read(rows)
    except Misconduct as wrong:
        return str(wrong)
    return "" if account.end in ("", status) else f"its history ends {account.end}"


def _amends(*words: str) -> str:
    command = [sys.executable, "-m", "amends", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return f"$ amends {' '.join(words[:2])}\n{done.stdout}{done.stderr}"
