"""The worlds of the joined model: what there is, which guards there are, and which worlds are the same.

Guarantees: a world is a few numbers; two that nobody could ever tell apart are one, unless the scope is `whole`. Each
such rule is argued in `docs/internals/model.md`, and a test compares both.
Must not: move.
"""

from __future__ import annotations

from typing import NamedTuple

from joined_model_core import NO_ANSWER, ORDER, SIBLINGS, TIMEOUT, WAITING, Core, Decided, Letters, Numbers
from joined_model_net import KEEPS, LOCK, TOMBSTONE, Services, Slot

RETIRE, LIVES, NEXT, OWN = "retire before adopting", "the worker lives", "the saga has not moved", "own row is success"
TAKE, DURABLE, END = "the mail is answered in the commit", "called once it is durable", "an end stays an end"
RELEASE = "only the owner lets go"
GUARDS = frozenset({RETIRE, LIVES, NEXT, OWN, TAKE, DURABLE, END, RELEASE})
AGAIN, SILENCE = "whoever adopts sends again", "silence is noticed"
GUARDS |= {AGAIN, SILENCE, LOCK, TOMBSTONE, KEEPS, TIMEOUT, SIBLINGS, ORDER}
NOBODY, SOMEBODY, GONE = range(3)  # who owns the saga: SOMEBODY is the process that says so
UP, PAUSED, RETIRED = range(3)  # a registration whose lease has passed, and one that others have ended
NOTHING = -1
_new = tuple.__new__  # `_replace` takes most of the time there is


class Scope(NamedTuple):
    """How much is explored. crashes: of a worker, of a handler behind its commit, of a line to the store behind a
    commit; a worker that is paused beyond its lease is one, too. doubles: messages that come twice. delays: messages
    that come after their timeout. rejects: steps that may say no."""

    plan: str = "pair"
    crashes: int = 2
    doubles: int = 1
    delays: int = 1
    cancels: bool = True
    rejects: str = "c"
    whole: bool = False


class Act(NamedTuple):
    """A decision in a worker's hands. letter: the reply that it follows from. mailed: that was in the mailbox. twice:
    it comes once more. late: what was given up was on its way. asked: it takes the client's cancel."""

    what: str
    decided: Decided
    letter: int = NOTHING
    mailed: bool = False
    twice: bool = False
    late: bool = False
    asked: bool = False


class Process(NamedTuple):
    """One worker. memory: the state that it has of the saga. stale: others have written since. waits: the decision
    that it waits for, by number. sent: that is written, and the answer was lost. going: it is about to let go."""

    status: int = UP
    memory: int = NOTHING
    stale: bool = False
    waits: int = NOTHING
    sent: bool = False
    owns: bool = False
    going: bool = False


FRESH = Process()


class World(NamedTuple):
    """All there is. one, two: the workers, by number. mail: replies in the mailbox, counted as in `net`. tasks:
    handlers at work, likewise. cancel: what is said to the client. crashes, doubles, delays: how many are left."""

    state: int
    holder: int
    cancel: int
    net: int
    slots: int
    one: int = 0
    two: int = 0
    mail: int = 0
    tasks: int = 0
    crashes: int = 0
    doubles: int = 0
    delays: int = 0
    wrong: str = ""


class Move(NamedTuple):
    """What may happen next. fair: it does so by itself, sooner or later."""

    what: str
    fair: bool
    world: World


class Worlds:
    """How worlds are made."""

    def __init__(self, scope: Scope, guards: frozenset[str] = GUARDS) -> None:
        self.scope = scope
        self.guards = guards
        self.letters = Letters()
        self.core = Core(scope.plan, self.letters, guards)
        self.services = Services(self.letters, guards, scope.rejects)
        self.processes: Numbers[Process] = Numbers(FRESH)
        self.cleans = not scope.whole and guards == GUARDS
        self._clean: dict[tuple[int, int, int], int] = {}
        self._idle: dict[tuple[int, int, int], bool] = {}

    def first(self) -> World:
        """A client has started the saga; two workers are there."""
        scope = self.scope
        state, slots = self.core.begin(), self.services.begin()
        left = World(state, NOBODY, NO_ANSWER, 0, slots)
        return left._replace(crashes=scope.crashes, doubles=scope.doubles, delays=scope.delays)

    def told(self, world: World) -> tuple[str, tuple[Slot, ...], int]:
        """What can be seen from outside: the history, the effects, and what was said to the client. A cancel that
        nobody has looked at is none."""
        cancel = NO_ANSWER if world.cancel == WAITING else world.cancel
        return self.core.text(world.state), self.services.slots[world.slots], cancel

    def put(self, world: World, place: int, process: Process, *, sort: bool = True) -> World:
        """The world with another process in a place."""
        if not (self.scope.whole or process.memory != NOTHING or process.owns or process.waits != NOTHING):
            process = process if process.going else FRESH  # who has nothing in hand renews its lease, or begins anew
        number = self.processes.number(process)
        one, two = (number, world.two) if place == 0 else (world.one, number)
        if sort and two < one and not self.scope.whole:
            one, two = two, one
        return self.kept(_new(World, (*world[:5], one, two, *world[7:])))

    def kept(self, world: World) -> World:
        """The world without the messages that can change nothing any more."""
        if not self.cleans or not world.net:
            return world
        key = (world.state, world.slots, world.net)
        net = self._clean.get(key)
        if net is None:
            net = world.net
            for number in self.letters.present(net):
                if self.is_idle(world.state, world.slots, number):
                    net &= ~(3 << 2 * number)
            self._clean[key] = net
        return world if net == world.net else _new(World, (*world[:3], net, *world[4:]))

    def is_idle(self, state: int, slots: int, number: int) -> bool:
        """Whether a message is about what is over, and is answered, or heard, without anything coming of it."""
        if not self.cleans:
            return False
        key = (state, slots, number)
        found = self._idle.get(key)
        if found is None:
            found = self._idle[key] = self.comes_to_nothing(state, slots, number)
        return found

    def comes_to_nothing(self, state: int, slots: int, number: int) -> bool:
        """The same, without looking it up."""
        letter = self.letters.all[number]
        if not self.core.known[state].over >> letter.half & 1:
            return False
        if letter.word is None:
            found = self.services.delivered(slots, number)
            return all(one.slots == slots and self.comes_to_nothing(state, slots, one.reply) for one in found)
        decided = self.core.heard(state, number)
        return decided.state == state and not decided.sends and decided.cancel == NO_ANSWER
