"""The whole system of the joined model: two workers, the services, the network between them, and a client.

Guarantees: all that can happen next is a move, and what must never be seen is a violation, in words.
Must not: know how worlds are visited.
"""

from __future__ import annotations

from collections.abc import Iterator

from joined_model_core import ACCEPTED, NO_ANSWER, NOTED, TOO_LATE, WAITING, named, without
from joined_model_net import LOCK, Delivered
from joined_model_workers import Workers
from joined_model_world import END, NOTHING, Move, World

_new = tuple.__new__
_SAID = {NO_ANSWER: "nobody cancels", ACCEPTED: "cancelled", TOO_LATE: "cancelled too late"}


class Model(Workers):
    """The moves of a world."""

    def moves(self, world: World) -> Iterator[Move]:
        """Everything that can happen next."""
        one, two = self.processes.all[world.one], self.processes.all[world.two]
        yield from self.process(world, 0, one, two)
        if self.scope.whole or world.one != world.two:
            yield from self.process(world, 1, two, one)
        yield from self._services(world)
        yield from self._client(world)

    def violation(self, world: World) -> str:
        """What must never be seen, in words; empty if all is well."""
        known = self.core.known[world.state]
        wrong = world.wrong or self.services.wrong(world.slots, world.state, known)
        if not wrong and world.cancel == ACCEPTED and not known.turned:
            return f"the client was told that the saga is cancelled, and it is {known.status}"
        if not wrong and world.cancel == TOO_LATE and known.cancelled:
            return "the client was told that the cancel came too late, and the saga went back because of it"
        return wrong

    def end_of(self, world: World) -> str:
        """Which good end this is: the saga has ended, whoever asked is answered, and nothing is left to be done."""
        known = self.core.known[world.state]
        if not known.ended or world.cancel in (WAITING, NOTED) or world.net or world.mail or world.tasks:
            return ""
        if any(self.processes.all[number].waits != NOTHING for number in (world.one, world.two)):
            return ""
        return f"{known.status}, {_SAID[world.cancel]}"

    # Services and the client

    def _services(self, world: World) -> Iterator[Move]:
        atomic = LOCK in self.guards and not self.scope.whole
        for number in self.letters.commands(world.net):
            found = self.services.delivered(world.slots, number)
            if not atomic and found[0].ran:
                yield from self._begins(world, number)
            elif atomic or LOCK not in self.guards or not self._is_locked(world, number):
                for delivered in found:
                    yield from self._ends(world, number, delivered)
        for number in self.letters.present(world.tasks):
            free = world._replace(tasks=without(world.tasks, number))
            for delivered in self.services.ended(world.slots, number):
                yield from self._ends(free, number, delivered, begun=True)
        if not self.cleans and 0 in (world.one, world.two):
            for number in self.letters.replies(world.net):
                mail = self.letters.add(world.mail, number)
                mailed = world._replace(net=without(world.net, number), mail=mail)
                yield Move(f"a worker puts {self.letters.all[number]} into the mailbox", True, mailed)

    def _is_locked(self, world: World, number: int) -> bool:
        step = self.letters.all[number].half >> 1
        return any(self.letters.all[task].half >> 1 == step for task in self.letters.present(world.tasks))

    def _begins(self, world: World, number: int) -> Iterator[Move]:
        """A handler is called. Who locks the row first waits for whoever has it."""
        if LOCK in self.guards and self._is_locked(world, number):
            return
        begun = world._replace(net=without(world.net, number), tasks=self.letters.add(world.tasks, number))
        yield Move(f"a handler begins {self.letters.all[number]}", True, begun)
        if world.doubles:
            twice = begun._replace(net=world.net, doubles=world.doubles - 1)
            yield Move(f"a handler begins {self.letters.all[number]}, which comes twice", False, twice)

    def _ends(self, world: World, number: int, delivered: Delivered, *, begun: bool = False) -> Iterator[Move]:
        what, slots, reply, ran = delivered
        half, wrong, letters = self.letters.all[number].half, world.wrong, self.letters
        if ran and not self.core.known[world.state].issued >> half & 1:
            wrong = f"{named(half)} was done, and nothing on disk says that it was to be"
        net = world.net if begun else without(world.net, number)
        after = _new(World, (*world[:3], letters.add(net, reply), slots, *world[5:12], wrong))
        yield Move(what, True, self.kept(after))
        if world.doubles and not begun and not self.is_idle(world.state, slots, number):
            twice = after._replace(net=letters.add(world.net, reply), doubles=world.doubles - 1)
            yield Move(f"{what}, and comes twice", False, self.kept(twice))
        if world.crashes and slots != world.slots:
            silent = after._replace(net=letters.add(net, number), crashes=world.crashes - 1)
            yield Move(f"{what}, and its handler dies before the reply", False, self.kept(silent))

    def _client(self, world: World) -> Iterator[Move]:
        ended = self.core.known[world.state].ended
        if ended and world.mail:
            yield Move("the sweep answers what is left in the mailbox", True, world._replace(mail=0))
        if not self.scope.cancels:
            return
        late = TOO_LATE if END in self.guards else ACCEPTED
        if self.scope.whole and world.cancel == NO_ANSWER:
            yield Move("a client cancels", False, world._replace(cancel=WAITING))
        asked = (WAITING, NOTED) if self.scope.whole else (NO_ANSWER, NOTED)
        if ended and world.cancel in asked:
            fair = world.cancel != NO_ANSWER
            yield Move("a client's cancel is answered by the sweep", fair, world._replace(cancel=late))
