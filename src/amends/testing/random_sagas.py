"""Random sagas of real steps, for the simulation: every kind of node, with and without a pivot.

Guarantees: the same seed gives the same sagas.
Must not: contain a step whose effect the world does not keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any

from amends.define.context import Context
from amends.define.node import Node, Resource
from amends.define.nodes import Parallel, Sequence, for_each, pivot, sleep, wait_for, when
from amends.define.policy import Retry
from amends.define.saga import Saga
from amends.define.step import Step, step
from amends.testing.world import Line

QUICK = Retry(attempts=3, first_delay=0.5, cap=4.0)
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Ticket:
    """The input of every random saga: how many items its `for_each`es have, and a coin."""

    items: int
    coin: bool


def items_of(ticket: Ticket) -> list[int]:
    """What a `for_each` goes over."""
    return list(range(ticket.items))


def coin_of(ticket: Ticket) -> bool:
    """What a `when` asks."""
    return ticket.coin


def pause_of(ticket: Ticket) -> timedelta:
    """How long an asked sleep is."""
    return timedelta(seconds=2 + 10 * ticket.items)


def is_no(word: str) -> bool:
    """What a filtered wait takes for a rejection."""
    return word == "no"


class SagaMaker:
    """Draws one saga."""

    def __init__(self, chance: Random, name: str) -> None:
        self._chance = chance
        self._name = name
        self._numbers = count(1)
        self._before = True

    def make(self) -> Saga[Ticket, None]:
        """The saga."""
        nodes = self._some(depth=2, least=1)
        kind = self._chance.choice(["none", "marker", "step"])
        if kind != "none":
            nodes.append(pivot if kind == "marker" else pivot(self._step(undone=False)))
            self._before = False
            nodes += self._some(depth=2, least=0)
        deadline = self._chance.choice([None, None, 60.0])
        return Saga(self._name, *nodes, input=Ticket, deadline=deadline)

    def _some(self, depth: int, least: int) -> list[Node[Any]]:
        return [self._node(depth) for _ in range(self._chance.randint(least, 3))]

    def _node(self, depth: int) -> Node[Any]:
        kinds = ["step", "step", "step", "look", "sleep", "wait", "each", "asked"]
        kind = self._chance.choice(kinds + ["parallel", "sequence", "when"] * (depth > 0))
        match kind:
            case "step":
                return self._step(undone=self._before)
            case "look":
                return self._look()
            case "sleep":
                return sleep(self._chance.choice([0.0, 1.0, 20.0])).named(self._fresh("z"))
            case "asked":
                return sleep(pause_of).named(self._fresh("z"))
            case "wait":
                return self._wait()
            case "each":
                collect = self._chance.random() < 0.4
                item = self._item(undone=self._before)
                limit = self._chance.randint(1, 3)
                if collect:
                    return for_each(item, over=items_of, limit=limit, on_reject="collect")
                return for_each(item, over=items_of, limit=limit)
            case "when":
                other = self._node(depth - 1) if self._chance.random() < 0.5 else None
                return when(coin_of, *self._some(depth - 1, 1), otherwise=other).named(self._fresh("if"))
        below = tuple(self._some(depth - 1, 1))
        return Parallel(below) if kind == "parallel" else Sequence(below)

    def _fresh(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"

    def _step(self, *, undone: bool) -> Step[..., Any, str]:
        async def act(line: Resource[Line], ctx: Context) -> str:
            return await line.act(ctx)

        async def undo(line: Resource[Line], ctx: Context) -> None:
            await line.undo(ctx)

        return self._made(act, undo, undone=undone)

    def _wait(self) -> Node[Any]:
        name, timeout = self._fresh("w"), self._chance.choice([10.0, 30.0])
        kind = self._chance.choice(["plain", "plain", "default", "filtered"])
        if kind == "default":
            return wait_for(name, str, timeout=timeout, default="d")
        if kind == "filtered":
            return wait_for(name, str, timeout=timeout, reject_if=is_no)
        return wait_for(name, str, timeout=timeout)

    def _look(self) -> Step[..., Any, str]:
        async def look(line: Resource[Line], ctx: Context) -> str:
            return await line.look(ctx)

        made: Step[..., Any, str] = step(name=self._fresh("r"), retry=QUICK, timeout=TIMEOUT_SECONDS, readonly=True)(
            look
        )
        return made

    def _item(self, *, undone: bool) -> Step[..., Any, str]:
        async def act(item: int, line: Resource[Line], ctx: Context) -> str:
            return await line.act(ctx)

        async def undo(item: int, line: Resource[Line], ctx: Context) -> None:
            await line.undo(ctx)

        return self._made(act, undo, undone=undone)

    def _made(self, act: Callable[..., Any], undo: Callable[..., Any], *, undone: bool) -> Step[..., Any, str]:
        made: Step[..., Any, str] = step(name=self._fresh("s"), retry=QUICK, timeout=TIMEOUT_SECONDS)(act)
        if undone:
            made.compensation(retry=QUICK, timeout=TIMEOUT_SECONDS)(undo)
        return made


def random_sagas(seed: int, number: int) -> list[Saga[Ticket, None]]:
    """That many sagas."""
    chance = Random(seed)
    return [SagaMaker(chance, f"saga{index}").make() for index in range(number)]
