"""What happens in the demo: orders come in, workers are killed and replaced, a person mends one.

Guarantees: both kills hit sagas in flight, or the run says that it proves nothing; the worker is
stopped, however the story ends.
Must not: know how it is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from amends import Orchestrator
from amends.operate.demo.ledger import Balance, Counts, Said, check, read_books, read_counts
from amends.operate.demo.person import mend
from amends.operate.demo.process import Child, WorkerDied
from amends.operate.demo.sagas import place_order
from amends.operate.demo.system import Run, orchestrator_of, prepare
from amends.operate.demo.watch import View, Watch
from amends.operate.demo.weather import Placed
from amends.operate.demo.worker import command
from amends.operate.operations import Operations

FORWARD_HIT_MIN = 2  # sagas that the first kill must meet on their way
DEATHS_MAX = 8
DOING = {"forward": "going forward", "back": "compensating"}


@dataclass(frozen=True)
class Tempo:
    """How fast the story is told, in seconds: between two orders, between two looks, before a
    new worker comes, and what a person takes to act. limit: when to give up."""

    order: float
    look: float
    pause: float
    person: float
    limit: float


@dataclass(frozen=True)
class Death:
    """One kill: the process, what it was doing, the sagas it had, and those of them that had a
    call on its way (the others waited for their next attempt)."""

    pid: int
    going: str
    orders: tuple[str, ...]
    in_flight: tuple[str, ...]


@dataclass
class Scene:
    """How everything stands: what is drawn."""

    views: dict[str, View]
    total: int
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0))
    worker: str = "a worker is starting"
    alive: bool = False
    seconds: float = 0.0

    def number(self, *statuses: str) -> int:
        """How many sagas are in one of these statuses."""
        return sum(view.status in statuses for view in self.views.values())


class Show(Protocol):
    """Who tells the story."""

    def say(self, text: str, tone: str = "") -> None:
        """Something happened. tone: good, bad, person or empty."""
        ...

    def order(self, view: View) -> None:
        """An order came to rest."""
        ...

    def draw(self, scene: Scene) -> None:
        """Show how everything stands."""
        ...


@dataclass(frozen=True)
class Result:
    """What the story came to. troubles: why it is not well."""

    views: tuple[View, ...]
    deaths: tuple[Death, ...]
    counts: Counts
    balance: Balance
    troubles: tuple[str, ...]
    timelines: dict[str, list[str]]
    seconds: float

    @property
    def well(self) -> bool:
        """Whether the ledger balances and every saga ended, through both kills."""
        return not self.troubles


@dataclass
class Story:
    """One run of the demo."""

    run: Run
    placed: Sequence[Placed]
    tempo: Tempo
    show: Show
    _deaths: list[Death] = field(default_factory=list)
    _troubles: list[str] = field(default_factory=list)
    _kills: list[str] = field(default_factory=lambda: ["forward", "back"])
    _go_on: asyncio.Event = field(default_factory=asyncio.Event)
    _mending: set[str] = field(default_factory=set)

    async def tell(self) -> Result:
        """Run it, from empty databases to the ledger."""
        self._begun = time.monotonic()
        prepare(self.run, list(self.placed))
        self._child = Child(command(self.run), self.run.directory / "worker.log")
        orchestrator = orchestrator_of(self.run)
        try:
            async with orchestrator.client():
                self._operations = Operations(orchestrator.session)
                self._watch = Watch(self._operations)
                self._scene = Scene(self._watch.views, len(self.placed))
                try:
                    await self._go(orchestrator)
                except BaseExceptionGroup as group:
                    raise group.exceptions[0] from None
                await self._child.stop()
                return await self._result()
        finally:
            await self._child.end()

    async def _go(self, orchestrator: Orchestrator) -> None:
        await self._draw()
        await self._new_worker()
        async with asyncio.TaskGroup() as self._tasks:
            placing = self._tasks.create_task(self._place(orchestrator))
            while not (placing.done() and self._all_ended()):
                await self._look()
                await self._kill_if_due()  # at once: what was seen in flight should still be
                await self._draw()
                if self._scene.alive and self._child.died:
                    self._troubles.append(f"a worker died by itself; its last words: {self._child.last_words()}")
                    await self._new_worker()
                if self._seconds() > self.tempo.limit or len(self._deaths) > DEATHS_MAX:
                    self._troubles.append(f"after {self._seconds():.0f} s not every saga has ended")
                    placing.cancel()
                    break
                if self._all_ended():
                    self._go_on.set()  # nothing is left to be killed: bring more
                await asyncio.sleep(self.tempo.look)

    async def _place(self, orchestrator: Orchestrator) -> None:
        """Orders come in, whether a worker lives or not. Half of them wait for the first kill, so
        that the second finds sagas that go back."""
        for number, (order, _) in enumerate(self.placed):
            if number == len(self.placed) // 2:
                await self._go_on.wait()
            await orchestrator.start(place_order, order, id=order.id)
            self._watch.placed(order)
            await asyncio.sleep(self.tempo.order)

    async def _look(self) -> None:
        await self._announce()
        for view in self._watch.views.values():
            if view.status == "parked" and view.order.id not in self._mending:
                self._mending.add(view.order.id)
                self._tasks.create_task(self._mend(view))

    async def _announce(self) -> None:
        for view in await self._watch.look():
            if view.ended:
                self.show.order(view)

    def _all_ended(self) -> bool:
        return all(view.ended for view in self._watch.views.values())

    async def _draw(self) -> None:
        self._scene.counts = await asyncio.to_thread(read_counts, self.run.directory)
        self._scene.seconds = self._seconds()
        self.show.draw(self._scene)

    # Kills

    async def _new_worker(self, left: Sequence[str] = ()) -> None:
        try:
            pid = await self._child.start()
        except WorkerDied as died:
            raise WorkerDied(f"the worker did not start: {died}") from None
        self._scene.worker, self._scene.alive = f"worker {pid} at work", True
        found = f" and takes up {_sagas(len(left))}: {', '.join(left)}" if left else ""
        self.show.say(f"worker {pid} starts{found}", "good")

    async def _kill_if_due(self) -> None:
        if not self._kills or not self._scene.alive or len(self._watch.views) < len(self.placed) // 4:
            return
        views = self._watch.views.values()
        going = self._kills[0]
        if going == "forward":
            due = sum(view.forward for view in views) >= FORWARD_HIT_MIN
        else:
            due = len(views) > len(self.placed) // 2 and any(view.back for view in views)
        if due:
            await self._kill(going)

    async def _kill(self, going: str) -> None:
        pid = await self._child.kill()
        self._scene.worker, self._scene.alive = f"worker {pid} is dead", False
        await self._look()  # it is dead: what stands now is what it left
        left = [view for view in self._watch.views.values() if view.worker is not None and not view.ended]
        names = tuple(view.order.id for view in left)
        in_flight = tuple(view.order.id for view in left if view.forward or view.back)
        self._deaths.append(Death(pid, going, names, in_flight))
        if any(view.forward if going == "forward" else view.back for view in left):
            self._kills.pop(0)
            self._go_on.set()
        lose = "loses its" if len(left) == 1 else "lose their"
        self.show.say(f"kill -9 {pid} while {DOING[going]}: {_sagas(len(left))} {lose} worker", "bad")
        self._tasks.create_task(self._revive(names))

    async def _revive(self, left: Sequence[str]) -> None:
        """Orders come in meanwhile, and wait."""
        await asyncio.sleep(self.tempo.pause)
        await self._new_worker(left)

    async def _mend(self, view: View) -> None:
        self.show.order(view)
        try:
            await mend(self._operations, self.run, view, self.show.say, seconds=self.tempo.person)
        finally:
            self._mending.discard(view.order.id)

    # The end

    async def _result(self) -> Result:
        await self._announce()
        await self._draw()
        views = tuple(self._watch.views.values())
        said = [Said(view.order, view.status) for view in views]
        balance = check(read_books(self.run.directory), said)
        for going in self._kills:
            self._troubles.append(f"no worker was killed while sagas were {DOING[going]}: this run proves too little")
        troubles = (*self._troubles, *balance.troubles)
        named = [view.order.id for view in views if any(view.order.id in trouble for trouble in troubles)]
        timelines = {name: await self._watch.timeline(name) for name in named}
        counts = self._scene.counts
        return Result(views, tuple(self._deaths), counts, balance, troubles, timelines, self._seconds())

    def _seconds(self) -> float:
        return time.monotonic() - self._begun


def _sagas(count: int) -> str:
    return "one saga" if count == 1 else f"{count} sagas"
