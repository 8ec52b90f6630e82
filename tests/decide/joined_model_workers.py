"""The workers of the joined model: how they come by the saga, what they decide, and how that is written.

The store is the few lines in `_decides`, `_commit` and `_written`, with the guards that the statements of the real one
have. A process that is slow needs no move of its own: its moves come late.
Must not: decide; the core does.
"""

from __future__ import annotations

from collections.abc import Iterator

from joined_model_core import NO_ANSWER, WAITING, Numbers, named, without
from joined_model_world import (
    AGAIN,
    DURABLE,
    FRESH,
    GONE,
    GUARDS,
    LIVES,
    NEXT,
    NOBODY,
    NOTHING,
    OWN,
    PAUSED,
    RELEASE,
    RETIRE,
    RETIRED,
    SILENCE,
    SOMEBODY,
    TAKE,
    UP,
    Act,
    Move,
    Process,
    Scope,
    World,
    Worlds,
)

_new = tuple.__new__  # `_replace` takes most of the time there is


class Workers(Worlds):
    """The moves of two workers."""

    def __init__(self, scope: Scope, guards: frozenset[str] = GUARDS) -> None:
        super().__init__(scope, guards)
        self._acts: Numbers[Act] = Numbers()
        self._heard: dict[tuple[int, int, bool], Act] = {}

    def process(self, world: World, place: int, me: Process, other: Process) -> Iterator[Move]:
        if me.status == RETIRED and (me.waits == NOTHING or LIVES in self.guards):
            yield Move("a worker finds itself retired, and begins anew", True, self._gone(world, place, me, FRESH))
        if me.waits != NOTHING:
            yield from self._commit(world, place, me, other, self._acts.all[me.waits])
        elif me.memory != NOTHING:
            yield from self._hears(world, place, me, other)
        else:
            yield from self._takes(world, place, me, other)
        if me.status == PAUSED:
            yield Move("a worker goes on, and renews its lease", True, self.put(world, place, me._replace(status=UP)))
        if me.status == UP and other.status == PAUSED:
            what = "a worker retires the other, whose lease has passed"
            yield Move(what, True, self._retired(world, 1 - place, other))
        if world.crashes:
            yield from self._falls(world, place, me)

    def _falls(self, world: World, place: int, me: Process) -> Iterator[Move]:
        """A worker dies, or is paused beyond its lease. Of one that would lose nothing by it that is left out: it may
        let go, or finds itself retired, and is where it would be then."""
        whole = self.scope.whole
        if not (me.owns or me.waits != NOTHING or (whole and me.memory != NOTHING)):
            return
        fewer = world._replace(crashes=world.crashes - 1)
        if me.status != RETIRED or whole:
            yield Move("a worker dies", False, self._gone(fewer, place, me, FRESH))
        if me.status == UP and (me.owns or whole):
            yield Move("a worker is paused beyond its lease", False, self.put(fewer, place, me._replace(status=PAUSED)))

    def _gone(self, world: World, place: int, me: Process, now: Process) -> World:
        """All that it had in hand is with the broker again."""
        if me.waits != NOTHING:
            world = self._returned(world, self._acts.all[me.waits])
        if me.owns:
            world = world._replace(holder=GONE)
        return self.put(world, place, now)

    def _retired(self, world: World, place: int, process: Process) -> World:
        """Whoever is retired can write nothing, and so might as well be dead."""
        if self.cleans:
            return self._gone(world, place, process, FRESH)
        return self.put(world, place, process._replace(status=RETIRED))

    def _returned(self, world: World, act: Act) -> World:
        if act.letter == NOTHING:
            return world
        if act.mailed:
            return world._replace(mail=self.letters.add(world.mail, act.letter))
        return world._replace(net=self.letters.add(world.net, act.letter))

    def _takes(self, world: World, place: int, me: Process, other: Process) -> Iterator[Move]:
        """A worker that does not have the saga comes by it."""
        if me.status == RETIRED:
            return
        if me.going:
            free = me._replace(owns=False)
            after = self._released(world) if me.owns or RELEASE not in self.guards else world
            yield Move("a worker lets the saga go", True, self.put(after, place, free._replace(going=False)))
            if world.crashes:
                fewer = after._replace(crashes=world.crashes - 1)
                yield Move("a worker lets the saga go, and the answer is lost", False, self.put(fewer, place, free))
            return
        if self.core.known[world.state].ended:
            return
        has = me._replace(memory=world.state, stale=False, owns=True)
        if world.holder == NOBODY:
            yield Move("a worker claims the saga", True, self.put(world._replace(holder=SOMEBODY), place, has))
            return
        resent = self.core.again(world.state) if AGAIN in self.guards else ()
        again = world._replace(holder=SOMEBODY, net=self.letters.sent(world.net, resent))
        if world.holder == GONE and me.status == UP:
            what = "a worker adopts the saga from one that died, and sends again what is in flight"
            yield Move(what, True, self.put(again, place, has))
        if other.owns and (other.status == RETIRED or (other.status == PAUSED and RETIRE not in self.guards)):
            what = "a worker adopts the saga from the other, and sends again what is in flight"
            robbed = self.put(again, 1 - place, other._replace(owns=False), sort=False)
            yield Move(what, True, self.put(robbed, place, has))
        if me.owns:
            yield Move("a worker reads the saga again, and sends again", True, self.put(again, place, has))

    def _released(self, world: World) -> World:
        """Nobody owns it now, whoever thought so."""
        processes = self.processes
        one, two = (processes.all[number]._replace(owns=False) for number in (world.one, world.two))
        return world._replace(holder=NOBODY, one=processes.number(one), two=processes.number(two))

    def _hears(self, world: World, place: int, me: Process, other: Process) -> Iterator[Move]:
        """A worker that has the saga in memory, however old that is, is told something."""
        state, letters = me.memory, self.letters
        for number in letters.replies(world.net):
            act = self._act(state, number)
            yield from self._decides(world, place, me, other, act)
            if world.doubles and not self.is_idle(act.decided.state, world.slots, number):
                twice = act._replace(what=f"{act.what}, which comes twice", twice=True)
                yield from self._decides(world, place, me, other, twice)
        if world.mail and me.owns:
            for number in letters.present(world.mail):
                yield from self._decides(world, place, me, other, self._act(state, number, mailed=True))
        asks = WAITING if self.scope.whole else NO_ANSWER
        if me.owns and world.cancel == asks and self.scope.cancels:
            act = Act("a worker takes the client's cancel", self.core.cancelled(state), asked=True)
            yield from self._decides(world, place, me, other, act)
        ticked = self.core.ticked(state)
        if ticked.row:
            yield from self._decides(world, place, me, other, Act("a worker begins", ticked))
        else:
            yield from self._waits(world, place, me, other)

    def _act(self, state: int, number: int, *, mailed: bool = False) -> Act:
        act = self._heard.get((state, number, mailed))
        if act is None:
            what = f"a worker takes {self.letters.all[number]}{' from the mailbox' if mailed else ''}"
            act = Act(what, self.core.heard(state, number), number, mailed)
            self._heard[state, number, mailed] = act
        return act

    def _waits(self, world: World, place: int, me: Process, other: Process) -> Iterator[Move]:
        """Nothing is to be done until a reply comes: it is given up, or the saga is let go."""
        halves, acts = self.letters.halves, self._acts.all
        on_the_way = halves(world.net) | halves(world.mail) | halves(world.tasks)
        if other.waits != NOTHING and not other.sent and acts[other.waits].letter != NOTHING:
            on_the_way |= 1 << self.letters.all[acts[other.waits].letter].half
        for half in self.core.known[me.memory].flying:
            late = bool(on_the_way >> half & 1)
            if (late and not world.delays) or SILENCE not in self.guards:
                continue
            what = f"no reply to {named(half)} came in time{', but it is on its way' if late else ''}"
            act = Act(what, self.core.timed_out(me.memory, half), late=late)
            yield from self._decides(world, place, me, other, act)
        if me.status == RETIRED and LIVES in self.guards:
            return
        if self.scope.whole or RELEASE not in self.guards:
            going = me._replace(memory=NOTHING, stale=False, going=True)
            yield Move("a worker is about to let the saga go", True, self.put(world, place, going))
        else:
            free = world._replace(holder=NOBODY) if me.owns else world
            yield Move("a worker lets the saga go", True, self.put(free, place, FRESH._replace(status=me.status)))

    # A decision, and its commit

    def _decides(self, world: World, place: int, me: Process, other: Process, act: Act) -> Iterator[Move]:
        """Nothing of a decision is seen before its commit, so both are one move, unless they are to be apart."""
        if not act.decided.row:
            if act.letter != NOTHING:
                yield Move(f"{act.what}, which says nothing new", True, self.kept(self._paid(world, act)))
            return
        if DURABLE not in self.guards and act.decided.sends and world.crashes:
            early = world._replace(crashes=world.crashes - 1, net=self.letters.sent(world.net, act.decided.sends))
            what = f"{act.what}, sends what follows, and dies before the commit"
            yield Move(what, False, self._gone(early, place, me, FRESH))
        if self.scope.whole:
            deciding = me._replace(waits=self._acts.number(act), sent=False)
            after = self.put(self._paid(world, act), place, deciding)
            yield Move(f"{act.what}, and decides", not (act.asked or act.late or act.twice), after)
        elif me.status == RETIRED and LIVES in self.guards:
            yield Move(f"{act.what}, and finds itself retired", True, self._gone(world, place, me, FRESH))
        elif me.stale and NEXT in self.guards:
            dropped = self.put(world, place, me._replace(memory=NOTHING, stale=False))
            yield Move(f"{act.what}, loses the race, and reads again", True, dropped)
        else:
            yield from self._written(world, self._paid(world, act), place, me, act)

    def _paid(self, world: World, act: Act) -> World:
        """The world once the message is taken, and what it costs."""
        if act.letter == NOTHING:
            return world._replace(delays=world.delays - 1) if act.late else world
        if act.twice:
            return world._replace(doubles=world.doubles - 1)
        if act.mailed:
            return world._replace(mail=without(world.mail, act.letter))
        return _new(World, (*world[:3], without(world.net, act.letter), *world[4:]))

    def _commit(self, world: World, place: int, me: Process, other: Process, act: Act) -> Iterator[Move]:
        """What was decided, or sent once, is sent: one statement with both guards."""
        if me.status == RETIRED and LIVES in self.guards:
            return
        what = f"{act.what}, and its commit is sent again" if me.sent else f"{act.what}, and commits"
        if me.sent and NEXT in self.guards:
            if OWN in self.guards:
                yield Move(f"{what}: its row is there", True, self._answered(world, place, me, act))
            else:
                yield Move(what, True, world._replace(wrong="a worker took its own row for somebody else's"))
        elif me.stale and NEXT in self.guards:
            dropped = me._replace(memory=NOTHING, stale=False, waits=NOTHING, sent=False)
            after = self.put(self._returned(world, act), place, dropped)
            yield Move(f"{what}, loses the race, and reads again", True, after)
        else:
            plain = act._replace(what=what, twice=False, late=False, asked=False)  # that was paid when it was decided
            yield from self._written(world, world, place, me, plain)

    def _written(self, before: World, world: World, place: int, me: Process, act: Act) -> Iterator[Move]:
        """It is written. before, world: with the message that it follows from, and without."""
        decided, cancel = act.decided, act.decided.cancel or world.cancel
        one, two, fair = world.one, world.two, not (act.asked or act.late or act.twice)
        number = two if place == 0 else one
        other = self.processes.all[number]
        if other.memory != NOTHING and not other.stale:
            number = self.processes.number(other._replace(stale=True))
            one, two = (one, number) if place == 0 else (number, two)
        wrong = world.wrong or _forbidden(me)
        _, holder, _, net, slots, _, _, *rest, _ = world
        store = _new(World, (decided.state, holder, cancel, net, slots, one, two, *rest, wrong))
        remembers = me._replace(memory=decided.state, stale=False)
        if me.status == UP or not decided.sends:
            yield Move(act.what, fair, self._answered(store, place, remembers, act))
        elif other.status == UP:  # what it would send waits for its lease
            after = self._retired(store, place, remembers._replace(waits=NOTHING, sent=False))
            yield Move(f"{act.what}, and is retired before it sends what follows", False, after)
        if world.crashes:
            apart = before is world and act.letter != NOTHING  # the message is in the worker's hands
            back = self._returned(world, act) if apart else before
            fewer = store._replace(crashes=world.crashes - 1)
            yield from self._broken_off(fewer, back, place, remembers, act)

    def _broken_off(self, store: World, back: World, place: int, me: Process, act: Act) -> Iterator[Move]:
        """A crash just behind a commit. back: where its message is with the broker still."""
        dead = store._replace(net=back.net, mail=back.mail, holder=GONE if me.owns else store.holder)
        for sent in _some(act.decided.sends):
            after = self.put(dead._replace(net=self.letters.sent(dead.net, sent)), place, FRESH)
            listed = " and ".join(str(self.letters.all[number]) for number in sent) or "nothing"
            yield Move(f"{act.what}, and dies having sent {listed}", False, after)
        if TAKE not in self.guards and act.decided.cancel:
            unanswered = dead._replace(cancel=WAITING if self.scope.whole else NO_ANSWER)
            yield Move(f"{act.what}, and dies before the answer", False, self.put(unanswered, place, FRESH))
        silent = me._replace(waits=self._acts.number(act), sent=True)
        yield Move(f"{act.what}, and the answer is lost", False, self.put(store, place, silent))
        if me.owns and not act.decided.sends and not self.core.known[act.decided.state].ended:
            freed = self.put(store._replace(holder=NOBODY), place, silent._replace(owns=False))
            yield Move(f"{act.what}, lets go in the same commit, and the answer is lost", False, freed)

    def _answered(self, world: World, place: int, me: Process, act: Act) -> World:
        """The decision is written, and the worker knows it: what follows goes out."""
        done, holder = me._replace(waits=NOTHING, sent=False), world.holder
        if self.core.known[act.decided.state].ended or not me.owns:
            done = done._replace(memory=NOTHING, stale=False, owns=False)
            holder = NOBODY if me.owns else holder
        net = self.letters.sent(world.net, act.decided.sends)
        return self.put(_new(World, (world.state, holder, world.cancel, net, *world[4:])), place, done)


def _forbidden(me: Process) -> str:
    """What is wrong with it that this worker writes."""
    if me.status == RETIRED:
        return "a worker wrote after it was retired"
    if not (me.owns or me.sent):
        return "a worker wrote that did not own the saga"
    if me.stale or me.sent:
        return "a row was decided upon a history that is not the saga's"
    return ""


def _some(numbers: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All but everything."""
    for chosen in range((1 << len(numbers)) - 1):
        yield tuple(number for place, number in enumerate(numbers) if chosen >> place & 1)
