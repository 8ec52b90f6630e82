"""The course of a run: a journal, a clock, and what is still to happen; the core decides what follows.

Guarantees: things happen in the order of their instants; at one instant, in the order in which they came up.
Must not: know faults.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from amends.decide import messages as m
from amends.decide.draft import Reply
from amends.decide.events import Event, Phase
from amends.decide.messages import Message
from amends.decide.plan import Plan
from amends.decide.state import ENDED, State, Status
from amends.run.deciding import decided, too_long
from amends.run.journal import Row
from amends.run.supply import Supply
from amends.testing.explore_acts import FIRST, Acting
from amends.testing.explore_world import Clock
from amends.testing.virtual import START

if TYPE_CHECKING:
    from amends.testing.explore_scene import Scene

TURNS_MAX = 20_000


class Note(NamedTuple):
    """Something that no journal tells."""

    text: str


class CallOf(NamedTuple):
    """A function was called, or was not. word: what befell it."""

    address: str
    phase: Phase
    attempt: int
    word: str


class Course:
    """A saga in a world, and what is still to happen to it."""

    def __init__(self, scene: Scene) -> None:
        self.scene: Scene = scene
        self.plan: Plan = scene.plan
        self.clock: Clock = Clock()
        self.now: float = START
        self.clock.seconds = START
        self.world: Any = scene.worlds.make(self.clock)
        self._resources = scene.worlds.resources(self.world)
        self.supply: Supply = Supply(scene.program, self._resources, scene.settings)
        self.state: State | None = None
        self.rows: list[Row] = []
        self.story: list[tuple[float, Row | Note | CallOf]] = []
        self.worker: int = 1
        self.crashed: bool = False
        self.waiting_alone: list[tuple[str, Phase]] = []  # attempts to be made one at a time
        self.endless: bool = False
        self.problem: str = ""  # what a user's own code beside the saga raised
        self.acting: Acting = Acting(self)
        self.last: list[Callable[[], None]] = []  # what happens when all else is over
        self._queue: list[tuple[float, int, bool, Callable[[], None]]] = []
        self._count = 0
        self._wake: float | None = None

    def go(self) -> None:
        """From the start until nothing more happens. Raises NeedsLoop."""
        self.begin_all()
        for _ in range(TURNS_MAX):
            if not self._turn():
                break
        else:
            self.endless = True
        self.acting.close()

    @abstractmethod
    def begin_all(self) -> None:
        """What happens first."""

    @abstractmethod
    def follow(self, events: tuple[Event, ...], line: int) -> None:
        """Do what was written into a line of the journal."""

    @abstractmethod
    def urgent(self) -> bool:
        """Do what comes before all else, such as taking over from a dead worker. False if there is nothing."""

    @abstractmethod
    def mend(self) -> bool:
        """Nothing moves any more: have somebody act. False if nobody does."""

    def _turn(self) -> bool:
        """Let the next thing happen. False if there is none."""
        at_once = bool(self._queue) and self._queue[0][0] == FIRST  # it was there before the worker died
        if (self.crashed or self.waiting_alone) and not (self.crashed and at_once) and self.urgent():
            return True
        if self._queue and (self._wake is None or self._queue[0][0] <= self._wake):
            at, _, _, do = heappop(self._queue)
            self.pass_until(at)
            do()
        elif self._wake is not None:
            self.pass_until(self._wake)
            self._wake = None
            self.tell(m.Tick())
        elif self.last:
            self.last.pop(0)()
        else:
            return self.mend()
        return True

    def pass_until(self, instant: float) -> None:
        """Let time pass."""
        if instant > self.now:
            self.now = self.clock.seconds = instant

    def restore(self, world: Any) -> None:
        """The world is as it was: what happened in it since was rolled back."""
        self.world = world
        self._resources.update(self.scene.worlds.resources(world))

    def next_number(self) -> int:
        """A number that nothing else in this run has."""
        self._count += 1
        return self._count

    def push(self, at: float, message: Message) -> None:
        """Have the saga told something at an instant."""
        self.later(at, lambda: self.tell(message))

    def later(self, at: float, do: Callable[[], None], *, outside: bool = True) -> None:
        """Have something happen at an instant. outside: it outlives the worker."""
        self._count += 1
        heappush(self._queue, (at, self._count, outside, do))

    def forget_what_the_worker_knew(self) -> None:
        """Only what comes from outside still happens."""
        self._queue = [one for one in self._queue if one[2]]
        heapify(self._queue)

    @property
    def busy(self) -> bool:
        """Whether an attempt is in flight."""
        return any(not outside for _, _, outside, _ in self._queue)

    def tell(self, message: Message) -> None:
        """Let the core decide, write that down, and do what follows."""
        decision = decided(self.plan, self.state, message, self.now, self.supply)
        self.state, self._wake = decision.state, decision.wake
        if decision.events:
            row = Row(self.now, self.worker, decision.events)
            self.rows.append(row)
            self.story.append((self.now, row))
            self.follow(decision.events, len(self.rows) - 1)
        for reply in decision.replies:
            self._answer(reply)
        if decision.events:
            halt = too_long(decision, self.scene.settings.history_lines)
            if halt is not None:
                self.tell(halt)

    def _answer(self, reply: Reply) -> None:
        if not self.acting.told(reply):
            self.note(f"the answer to {reply.mail}: {reply.word}")

    def note(self, text: str) -> None:
        """Something that the journal does not tell."""
        self.story.append((self.now, Note(text)))

    @property
    def at_rest(self) -> bool:
        """Whether it came to an end, or to somebody's desk."""
        status = self.standing.status
        return status in ENDED or status is Status.PARKED

    @property
    def standing(self) -> State:
        """The state, once there is one."""
        if self.state is None:
            raise RuntimeError("the saga has no state yet")
        return self.state
