"""The same saga and the same services, orchestrated or choreographed.

What it is: the scene of the behavioural suite that both styles pass; services meet over the local transport.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from engine import state
from travels import Order, Town, place_order

from amends import Orchestrator, Saga
from amends.decide.state import ENDED, State, Status
from amends.errors import Refused, TooLate
from amends.operate.operations import Operations
from amends.run.mailbox import Wish

PATIENCE_SECONDS = 30.0


@dataclass
class Play(ABC):
    """One way to run it."""

    town: Town

    @asynccontextmanager
    @abstractmethod
    def open(self) -> AsyncGenerator[None, None]:
        """All at work."""

    @abstractmethod
    async def start(self, order: Order) -> None:
        """Start a saga under the order's id."""

    @abstractmethod
    async def state(self, key: str) -> State | None:
        """How it stands, as far as whoever started it knows."""

    @abstractmethod
    async def act(self, key: str, verb: str, step: str = "", result: bytes | None = None) -> str:
        """A person's act, or `cancel`; what is answered."""

    async def rests(self, key: str) -> State:
        """Wait until it has ended, or is parked."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await self.state(key)
                if found is not None and (found.status in ENDED or found.status is Status.PARKED):
                    return found
                await asyncio.sleep(0.02)

    async def ends(self, key: str) -> State:
        """Wait until it has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := await self.rests(key)).status not in ENDED:
                await asyncio.sleep(0.02)
            return found


class Orchestrated(Play):
    """A conductor in the middle."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        place = self.town.ground.url("conductor")
        self.orchestrator = Orchestrator(place, sagas=[self.town.saga], migrate=True)
        async with self.town.open("inventory", "payment"), self.orchestrator:
            yield

    async def start(self, order: Order) -> None:
        saga: Saga[Any, Any] = self.town.saga
        await self.orchestrator.start(saga, order, id=order.id)

    async def state(self, key: str) -> State | None:
        return await state(self.orchestrator, key)

    async def act(self, key: str, verb: str, step: str = "", result: bytes | None = None) -> str:
        people = Operations(self.orchestrator.session)
        try:
            if verb == "cancel":
                await people.cancel(key, actor="ada", reason="asked to")
            elif verb == "resolve":
                await people.resolve(key, step, actor="ada", reason="asked to", result=result)
            else:
                where = (step,) if step else ()
                await getattr(people, verb)(key, *where, actor="ada", reason="asked to")
        except TooLate:
            return "too late"
        except Refused:
            return "refused"
        return "accepted"


class Choreographed(Play):
    """Nobody in the middle."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        async with self.town.open():
            yield

    async def start(self, order: Order) -> None:
        self.town.start(order)

    async def state(self, key: str) -> State | None:
        return self.town.state(key) if self.town.stand(key) in ("ended", "parked") else None

    async def act(self, key: str, verb: str, step: str = "", result: bytes | None = None) -> str:
        homes = self.town.apps["orders"].session.homes
        return (await homes.act(key, Wish(verb, step, "ada", "asked to", result))).word


STYLES: dict[str, type[Play]] = {"orchestrated": Orchestrated, "choreographed": Choreographed}
__all__ = ["STYLES", "Order", "Play", "place_order"]
