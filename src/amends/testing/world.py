"""A simulated outside: services that keep their word, over a network that does not.

Every action is keyed; a service that sees a key twice answers as before, and an action whose
undo was there first does nothing. So whatever stands in the ledger at the end was put there
by the engine under test.

Guarantees: the ledger tells what really happened, whatever the callers were told.
Must not: import the engine's rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeVar

from amends.define.context import Context
from amends.define.policy import Park, Reject, Retry
from amends.testing.faults import Gate

T = TypeVar("T")
HELD_SECONDS = 60.0


class Effect(NamedTuple):
    """One effect in the ledger: of which saga, which step, under which key."""

    saga: str
    address: str
    key: str


@dataclass
class Troubles:
    """How often a service misbehaves, per call."""

    reject: float = 0.0
    error_before: float = 0.0
    error_after: float = 0.0
    slow: float = 0.0
    held: float = 0.0  # a request arrives long after it was sent
    park: float = 0.0
    later: float = 0.0
    undo_error: float = 0.0
    undo_reject: float = 0.0
    latency_seconds: float = 0.02

    def heal(self) -> None:
        """Everything works from here on."""
        for name in vars(self):
            setattr(self, name, 0.0)
        self.latency_seconds = 0.02


def _nobody(_: Context) -> None:
    """Nobody wants to know."""


@dataclass
class World:
    """All services together, and their ledger."""

    chance: Random
    troubles: Troubles
    effects: dict[str, Effect] = field(default_factory=dict)  # by key: what stands
    undone: set[str] = field(default_factory=set)  # keys of actions whose undo was there
    answers: dict[str, str] = field(default_factory=dict)  # what a key was answered
    poisoned: tuple[str, str] = ("", "")  # the saga and step that take their worker down
    keys: dict[tuple[str, str, int], set[str]] = field(default_factory=dict)
    called: Callable[[Context], None] = _nobody  # told of every call as it begins
    calls: int = 0
    repeated: int = 0
    fenced: int = 0

    def act(self, ctx: Context) -> str:
        """An action arrives at its service. Raises what the service answers."""
        self.calls += 1
        self.keys.setdefault((ctx.saga_id, ctx.address, ctx.round), set()).add(ctx.key)
        if ctx.key in self.answers:
            self.repeated += 1
            return self.answers[ctx.key]
        if ctx.key in self.undone:
            self.fenced += 1
            raise RuntimeError("the undo was here first")
        if self._happens(self.troubles.reject):
            raise Reject("no")
        if self._happens(self.troubles.error_before):
            raise ConnectionError("before")
        self.effects[ctx.key] = Effect(ctx.saga_id, ctx.address, ctx.key)
        self.answers[ctx.key] = f"{ctx.saga_id}/{ctx.address}"
        return self.answers[ctx.key]

    def look(self, ctx: Context) -> str:
        """A question arrives, which changes nothing."""
        self.calls += 1
        if self._happens(self.troubles.reject):
            raise Reject("nobody knows")
        if self._happens(self.troubles.error_before):
            raise ConnectionError("look")
        return f"{ctx.saga_id}/{ctx.address}"

    def undo(self, ctx: Context) -> None:
        """A compensation arrives at its service."""
        self.calls += 1
        if self._happens(self.troubles.undo_reject):
            raise Reject("cannot")
        if self._happens(self.troubles.undo_error):
            raise ConnectionError("undo")
        self.undone.add(ctx.action_key)
        self.effects.pop(ctx.action_key, None)

    def _happens(self, rate: float) -> bool:
        return rate > 0.0 and self.chance.random() < rate


class Line:
    """What one simulated process reaches the world by; the resource that its steps ask for.

    A request, once sent, arrives whatever becomes of its sender, perhaps long after.
    """

    def __init__(self, world: World, gate: Gate) -> None:
        self._world = world
        self._gate = gate

    async def act(self, ctx: Context) -> str:
        """Call the service of a step's action."""
        world, troubles = self._world, self._world.troubles
        world.called(ctx)
        if world.poisoned == (ctx.saga_id, ctx.address):
            self._gate.kill()
        if world.chance.random() < troubles.park:
            raise Park("the credentials are wrong")
        if world.chance.random() < troubles.later:
            raise Retry.after(3.0)
        answer = await self._request(f"act {ctx.address}", lambda: world.act(ctx))
        if world.chance.random() < troubles.error_after:
            raise ConnectionError("after")
        if world.chance.random() < troubles.slow:
            await self._linger(world.chance.uniform(0.0, 30.0))
        return answer

    async def look(self, ctx: Context) -> str:
        """Ask a service something."""
        self._world.called(ctx)
        return await self._request(f"look {ctx.address}", lambda: self._world.look(ctx))

    async def undo(self, ctx: Context) -> None:
        """Call the service of a step's compensation."""
        self._world.called(ctx)
        await self._request(f"undo {ctx.address}", lambda: self._world.undo(ctx))
        if self._world.chance.random() < self._world.troubles.slow:
            await self._linger(self._world.chance.uniform(0.0, 30.0))

    async def _request(self, what: str, serve: Callable[[], T]) -> T:
        """Send a request and wait for its answer."""
        await self._gate.call(f"send {what}", _nothing)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        chance, troubles = self._world.chance, self._world.troubles
        longest = HELD_SECONDS if chance.random() < troubles.held else troubles.latency_seconds
        delay = chance.uniform(0.0, longest)

        def arrive() -> None:
            try:
                result = serve()
            except Exception as error:  # noqa: BLE001  # the service's answer, good or bad
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        loop.call_later(delay, arrive)
        result = await answer
        await self._gate.call(f"hear {what}", _nothing)
        return result

    async def _linger(self, seconds: float) -> None:
        """Be slow, and now and then deaf to being asked to stop."""
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if self._world.chance.random() < 0.7:
                raise
            await asyncio.sleep(seconds)


async def _nothing() -> None:
    """What passes a gate when only the passing matters."""
