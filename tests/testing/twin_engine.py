"""The same faults, in a run of `explore` and in the engine: random sagas whose functions do what a script says.

Guarantees: one seed is one saga, one list of faults and one comparison.
Must not: know how either of the two works inside, but for where their state is.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import pytest

from amends import Context, Reject, Resource, Retry, Saga, for_each, parallel, pivot, sequence, sleep, step, wait_for
from amends.decide.events import Phase
from amends.decide.plan import Plan, StepNode, group_of
from amends.decide.state import ENDED, Action, State, Status
from amends.define.node import Node
from amends.define.nodes import Signal
from amends.define.step import Step
from amends.errors import NotAnswered, Refused, TooLate
from amends.run.journal import state_of
from amends.testing import Sandbox
from amends.testing.explore_excuse import unexplained
from amends.testing.explore_faults import ATTEMPTS, Fault, Faults, Kind
from amends.testing.explore_points import further
from amends.testing.explore_run import SLOW_SHARE, Run
from amends.testing.explore_scene import Scene
from amends.testing.inline import InlineSession
from amends.testing.virtual import VirtualLoop

TIMEOUT_SECONDS = 5.0
APART_SECONDS = 1 / 64  # so much longer for each step: no two of them are due at the same instant
ALIVE_SECONDS = 4.0
WAIT_SECONDS = 20.0
DEADLINE_SECONDS = 90.0
SAGA = "the-saga"
KNOWN = frozenset(
    {
        Kind.REJECTS,
        Kind.FAILS,
        Kind.DOWN,
        Kind.TIMES_OUT,
        Kind.LOST,
        Kind.CRASH_BEFORE,
        Kind.CRASH_AFTER,
        Kind.SLOW,
        Kind.CANCEL,
        Kind.DEADLINE,
        Kind.SIGNAL_LOST,
        Kind.SIGNAL_TWICE,
        Kind.SIGNAL_LATE,
    }
)
MOMENTS = frozenset({Kind.CANCEL, Kind.DEADLINE})
At = tuple[str, Phase, int]


class Never(Exception):
    """No attempt behind this one."""


UNDONE = Retry(attempts=2, first_delay=0.5, jitter=0.0, never=(Never,))


@dataclass(frozen=True)
class Ticket:
    """The input."""

    items: int = 2


@dataclass
class World:
    """What was done, by key; and in the engine, what is to befall which attempt."""

    script: dict[At, Kind] = field(default_factory=dict[At, Kind])
    cancels: Callable[[], Coroutine[Any, Any, None]] | None = None
    asked: asyncio.Future[None] | None = None
    dies: Callable[[], None] | None = None
    dead: bool = False
    cancel_at: set[At] = field(default_factory=set[At])
    overdue_at: set[At] = field(default_factory=set[At])
    standing: dict[str, str] = field(default_factory=dict[str, str])  # key -> address
    calls: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    tries: Counter[tuple[str, Phase]] = field(default_factory=Counter[tuple[str, Phase]])

    async def act(self, ctx: Context, timeout: float) -> None:
        """One attempt, of a step with such a timeout."""
        if self.dead:
            await asyncio.get_running_loop().create_future()
        half = (ctx.address, Phase(ctx.phase))
        self.tries[half] += 1
        kind = self.script.get((*half, self.tries[half]))
        if (*half, self.tries[half]) in self.cancel_at and self.cancels is not None:
            self.asked = asyncio.ensure_future(self.cancels())
            await asyncio.wait([self.asked], timeout=0.001)  # one that meets the pivot waits for it
        while (*half, self.tries[half]) in self.overdue_at and _now() <= (ctx.deadline or 0.0):
            ctx.heartbeat()  # until the saga's deadline has come
            await asyncio.sleep(ALIVE_SECONDS)
        if kind is Kind.REJECTS:
            raise Reject("it was made to say no")
        if kind is Kind.FAILS:
            raise ConnectionError("it was made to fail")
        if kind is Kind.DOWN:
            raise Never("it was made to fail")
        if kind is Kind.CRASH_BEFORE:
            await self._die()
        self.calls[ctx.address, str(ctx.phase)] += 1
        if half[1] is Phase.ACTION:
            self.standing[ctx.key] = ctx.address
        else:
            self.standing.pop(ctx.action_key, None)
        if kind is Kind.CRASH_AFTER:
            await self._die()
        elif kind is Kind.TIMES_OUT:
            await asyncio.sleep(3600)
        elif kind is Kind.SLOW:
            await asyncio.sleep(timeout * SLOW_SHARE)
        elif kind is Kind.LOST:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                raise Never("no answer came") from None

    async def _die(self) -> None:
        if self.dies is not None:
            self.dead = True
            self.dies()
        await asyncio.get_running_loop().create_future()


def _now() -> float:
    return cast("VirtualLoop", asyncio.get_running_loop()).now()


class Maker:
    """Draws a saga of steps that act. signals: what its waits get."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._count = 0
        self._before = True
        self.signals: dict[Signal[str], str] = {}

    def saga(self) -> Saga[Ticket, None]:
        """The saga."""
        nodes = [self._top(2) for _ in range(self._chance.randint(1, 3))]
        kind = self._chance.choice(["none", "marker", "step"])
        if kind != "none":
            nodes.append(pivot if kind == "marker" else pivot(self._step(undone=False)))
            self._before = False
            nodes += [self._top(1) for _ in range(self._chance.randint(0 if kind == "step" else 1, 2))]
        return Saga("twin", *nodes, input=Ticket, deadline=self._chance.choice([None, DEADLINE_SECONDS]))

    def _top(self, depth: int) -> Node[Any]:
        """Waits and sleeps stand alone: nothing else happens meanwhile."""
        kind = self._chance.choice(["wait", "sleep", "node", "node", "node", "node"])
        if kind == "sleep":
            return sleep(7.0)
        return self._wait() if kind == "wait" else self._node(depth)

    def _wait(self) -> Signal[str]:
        self._count += 1
        name = f"w{self._count}"
        if self._before and self._chance.random() < 0.5:
            made = wait_for(name, str, timeout=WAIT_SECONDS)
        else:
            made = wait_for(name, str, timeout=WAIT_SECONDS, default="silence")
        self.signals[made] = "yes"
        return made

    def _node(self, depth: int) -> Node[Any]:
        kind = self._chance.choice(["step", "step", "step", "look", "parallel", "each"])
        if kind == "parallel" and depth:
            parts = [self._node(depth - 1) for _ in range(self._chance.randint(2, 3))]
            return parallel(*parts) if self._chance.random() < 0.7 else parallel(parts[0], sequence(*parts[1:]))
        if kind == "each":
            return for_each(self._item(), over=items_of, limit=self._chance.randint(1, 2))
        return self._step(readonly=kind == "look", undone=self._before)

    def _retry(self) -> Retry:
        attempts = self._chance.randint(1, 3) if self._before else None
        return Retry(attempts=attempts, first_delay=0.5, cap=4.0, jitter=0.0, never=(Never,))

    def _step(self, *, undone: bool, readonly: bool = False) -> Step[..., Any, None]:
        self._count += 1
        timeout = TIMEOUT_SECONDS + self._count * APART_SECONDS

        @step(name=f"s{self._count}", timeout=timeout, retry=self._retry(), readonly=readonly)
        async def act(ticket: Ticket, world: Resource[World], ctx: Context) -> None:
            await world.act(ctx, timeout)

        if undone and not readonly:

            @act.compensation(retry=UNDONE, timeout=timeout)
            async def undo(world: Resource[World], ctx: Context) -> None:
                await world.act(ctx, timeout)

        return act

    def _item(self) -> Step[..., Any, None]:
        self._count += 1
        timeout = TIMEOUT_SECONDS + self._count * APART_SECONDS

        @step(name=f"s{self._count}", timeout=timeout, retry=self._retry())
        async def act(item: int, world: Resource[World], ctx: Context) -> None:
            await world.act(ctx, timeout)

        if self._before:

            @act.compensation(retry=UNDONE, timeout=timeout)
            async def undo(item: int, world: Resource[World], ctx: Context) -> None:
                await world.act(ctx, timeout)

        return act


def items_of(ticket: Ticket) -> list[int]:
    """What a `for_each` goes over."""
    return list(range(ticket.items))


@dataclass
class Twin:
    """One seed, twice: of each, what is to be equal."""

    faults: Faults
    status: str
    explored: dict[str, Any]
    engine: dict[str, Any]


def twin(seed: int, *, longest: int = 3) -> Twin:
    """Draw a saga and faults, and have both run."""
    chance = Random(seed)
    maker = Maker(chance)
    saga = maker.saga()
    scene = Scene(saga, Ticket(), World, maker.signals)
    try:
        run = scene.run()
        for _ in range(chance.randint(0, longest)):
            more = [fault for fault in further(run) if fault.kind in KNOWN and _meant(run, fault)]
            if not more:
                break
            run = scene.run((*run.faults, chance.choice(more)))
        exact = not (_tied(run.faults) or any(_with_siblings(run, fault) for fault in run.faults))
        explored = _seen(run.standing, run.world, saga.plan, exact=exact)
        engine = _seen(*in_engine(saga, run, maker.signals, goes_on=not unexplained(run)), saga.plan, exact=exact)
    finally:
        scene.close()
    return Twin(run.faults, str(run.standing.status), explored, engine)


def _with_siblings(run: Run, fault: Fault) -> bool:
    """A worker that dies while others are in flight: which of them it has heard of is chance."""
    crash = fault.kind in (Kind.CRASH_BEFORE, Kind.CRASH_AFTER)
    at = [point for point in run.points if (point.name, point.phase, point.number) == fault[1:]]
    return crash and any(point.siblings for point in at)


def _tied(faults: Faults) -> bool:
    """An item that fails and then times out is given up in the very instant in which another, which has timed out, is
    due again: which of them comes first is chance."""
    kinds: dict[str, list[Kind]] = defaultdict(list)
    for fault in faults:
        if fault.name.endswith("]"):
            kinds[group_of(fault.name)].append(fault.kind)
    return any(Kind.FAILS in found and len(found) > 2 for found in kinds.values())


def _meant(run: Run, fault: Fault) -> bool:
    """Whether the engine can be given it: a moment comes while one attempt is in flight, and nothing else."""
    at = [point for point in run.points if point.line == fault.number]
    if fault.kind is Kind.DEADLINE and _awaited(run, fault.number):
        return False
    return fault.kind not in MOMENTS or (len(at) == 1 and at[0].node is not None and not at[0].siblings)


def _awaited(run: Run, line: int) -> bool:
    """Whether a step waits for its next attempt then: in the engine a deadline takes its time to come, and that attempt
    is due before it."""
    begun = {(point.name, point.phase, point.number) for point in run.points if point.line < line}
    later = [point for point in run.points if point.line > line]
    return any((point.name, point.phase, point.number - 1) in begun for point in later)


def in_engine(
    saga: Saga[Ticket, None], run: Run, signals: Mapping[Signal[str], str], *, goes_on: bool
) -> tuple[State, World]:
    """The same in the sandbox. goes_on: what parks is taken up again, as in the run."""
    world, sessions = World(), list[InlineSession]()

    class Remembered(InlineSession):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            sessions.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amends.testing.rig.InlineSession", Remembered)
        with Sandbox([saga], resources=[world]) as app:
            _script(world, run, app, sessions)
            started = app.start(saga, Ticket(), id=SAGA)
            mended = 0
            mail = Mail(app, signals, run.faults)
            for _ in range(400):
                while world.dead:
                    world.dead = False
                    app.kill_worker()
                if started.status in ("completed", "compensated"):
                    break
                if started.status == "parked":
                    if mended > len(run.faults) or not goes_on:
                        break
                    mended += 1
                    _told(app, app._rig.act(SAGA, "unpark", "", "it works again", None))
                    continue
                app.advance(seconds=1)
                if not world.dead:
                    mail.look()
            loaded = app._rig.run(app._rig.session.store.load(SAGA))
            assert loaded is not None
            return state_of(loaded), world


class Mail:
    """Whoever answers the waits of a saga."""

    def __init__(self, app: Sandbox, signals: Mapping[Signal[str], str], faults: Faults) -> None:
        self._app = app
        self._kinds = {fault.name: fault.kind for fault in faults}
        lost = {name for name, kind in self._kinds.items() if kind is Kind.SIGNAL_LOST}
        self._due = {signal: value for signal, value in signals.items() if signal.stored_name not in lost}

    def look(self) -> None:
        """Send what is due."""
        if not self._due:
            return
        loaded = self._app._rig.run(self._app._rig.session.store.load(SAGA))
        assert loaded is not None
        state = state_of(loaded)
        for signal, value in list(self._due.items()):
            kind = self._kinds.get(signal.stored_name)
            if signal.stored_name not in state.steps:
                continue
            waits = state.steps[signal.stored_name].action.status is Action.WAITING
            if waits == (kind is Kind.SIGNAL_LATE):
                continue
            del self._due[signal]
            for _ in range(2 if kind is Kind.SIGNAL_TWICE else 1):
                _told(self._app, self._app._rig.session.signal(SAGA, signal, value, None))


def _told(app: Sandbox, asking: Coroutine[Any, Any, None]) -> None:
    """Tell a saga something. Where its worker dies of what follows, nobody answers."""

    async def ask() -> None:
        with suppress(TooLate, Refused, TimeoutError):
            async with asyncio.timeout(0.001):
                await asking

    app._rig.run(ask())


def _script(world: World, run: Run, app: Sandbox, sessions: list[InlineSession]) -> None:
    world.script = {(one.name, one.phase, one.number): one.kind for one in run.faults if one.kind in ATTEMPTS}
    for fault in run.faults:
        if fault.kind in MOMENTS:
            point = next(point for point in run.points if point.line == fault.number)
            at = world.cancel_at if fault.kind is Kind.CANCEL else world.overdue_at
            at.add((point.name, point.phase, point.number))

    async def cancel() -> None:
        with suppress(TooLate, Refused, NotAnswered):  # as in the run; or its worker died
            await sessions[-1].cancel(SAGA, reason="cancelled by explore", actor="test")

    def dies() -> None:
        sessions[-1].kill()
        app._rig._store.kill()

    world.cancels, world.dies = cancel, dies


def _seen(state: State, world: World, plan: Plan, *, exact: bool) -> dict[str, Any]:
    """exact: how it stands, and what was called how often; else only that what stands is what such a saga has."""
    changing = {address for address in state.steps if _changes(plan, address)}
    standing = sorted(set(world.standing.values()) & changing)
    wanted = [] if state.status is Status.COMPENSATED else sorted(changing)
    fair = standing == wanted if state.status in ENDED else "open"
    if not exact:
        return {"fair": fair}
    steps = {
        address: (str(one.action.status), "" if one.undo is None else str(one.undo.status))
        for address, one in sorted(state.steps.items())
    }
    return {"fair": fair, "status": str(state.status), "steps": steps, "calls": sorted(world.calls.items())}


def _changes(plan: Plan, address: str) -> bool:
    node = plan.by_address.get(address)
    return isinstance(node, StepNode | None) and not plan.step(address).readonly
