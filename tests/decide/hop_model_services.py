"""The services of the hop's model: how each takes a baton, does its part, and passes the saga on.

A hop is one transaction: the row of the barrier, the effect, the row of the hop and what goes out are there together
or not at all, and it is judged as it commits, so it is one move; what goes out is as good as on its way, since the
outbox is durable. The guards stand in the statements of the real store; here they are the few lines in `_written`.
Must not: decide; the real code does.
"""

from __future__ import annotations

from collections.abc import Iterator

from hop_model_saga import ENDED, NAMES, NOW, PARKED, UNKNOWN, Called, Came, Carriers, Followed, of
from hop_model_world import (
    AGAIN,
    ASIDE,
    GUARDS,
    KEEPS,
    MOVED,
    ONCE,
    SEEN,
    STUCK,
    TRAVEL,
    WAITS,
    Done,
    Letter,
    Place,
    Row,
    Scope,
    World,
    put,
    with_,
)
from joined_model_core import Numbers
from joined_model_net import Slot

from amends.decide import messages as m
from amends.decide.barrier import Arrival, Entry, Kept, Verdict, answer, arrives
from amends.decide.events import ACTION, UNDO
from amends.decide.wire import Word
from amends.run.journey import At


class Services:
    """Three of them, that share nothing."""

    def __init__(self, scope: Scope, guards: frozenset[str] = GUARDS) -> None:
        self.scope = scope
        self.guards = guards
        self.carriers = Carriers(scope.delay, waits=WAITS in guards)
        self.letters: Numbers[Letter] = Numbers()
        self.places: Numbers[Place] = Numbers()

    def baton(self, followed: Followed, *, late: bool) -> int:
        return self.letters.number(Letter("baton", followed.to, followed.at, followed.came, late))

    def arrives(self, world: World, letter: Letter) -> Iterator[Done]:
        index, at, came = NAMES.index(letter.to), letter.at, letter.came
        place = self.places.all[world.places[index]]
        row = dict(place.rows).get(at)
        if not place.knows:
            yield self._set_aside(world, index, place, letter, row)
            return
        if row is not None and ONCE in self.guards:
            yield Done(f"{letter} was here before", world, self._out_again(row, at))
            if letter.late:
                return
        if TRAVEL not in self.guards:
            came = Came(came.history, ())
        yield from self._goes_on(world, index, at, came, NOW)

    def _length(self, row: Row) -> int:
        return self.carriers.histories[row.came.history].length

    def _out_again(self, row: Row, at: At) -> tuple[int, ...]:
        """What a hop that is over has led to, once more."""
        if AGAIN not in self.guards or row.stand not in ("passed", ENDED, PARKED):
            return ()
        followed = self.carriers.again(row.came, at[0])
        return self._sends(followed, late=True)

    def _sends(self, followed: Followed, *, late: bool) -> tuple[int, ...]:
        if followed.told:
            return (self.letters.number(Letter("told", came=followed.came, word=followed.told)),)
        return (self.baton(followed, late=late),) if followed.to else ()

    def _set_aside(self, world: World, index: int, place: Place, letter: Letter, row: Row | None) -> Done:
        if row is not None or ASIDE not in self.guards:
            return Done(f"{letter} is of a plan that {letter.to} does not know", world)
        kept = place._replace(rows=put(place.rows, letter.at, Row(UNKNOWN, letter.came)))
        told = self.letters.number(Letter("told", came=letter.came, word=UNKNOWN))
        return Done(
            f"{letter} is of a plan that {letter.to} does not know, and waits", self._at(world, index, kept), (told,)
        )

    def _goes_on(self, world: World, index: int, at: At, came: Came, now: float) -> Iterator[Done]:
        """The saga goes on from where it is, with what is wanted of it."""
        place = self.places.all[world.places[index]]
        unmet = tuple(mark for mark, _, _ in place.marks if mark not in came.marks)
        if unmet and SEEN not in self.guards:
            blind = place._replace(marks=())
            for done in self._goes_on(self._at(world, index, blind), index, at, came, now):
                after = self.places.all[done.world.places[index]]._replace(marks=place.marks)
                yield done._replace(what=f"{done.what}, blindly", world=self._at(done.world, index, after))
        found = self.carriers.goes_on(came, at, unmet, now, None)
        if isinstance(found, Followed):
            yield self._written(world, index, place, at, came, found, f"{at[0]} lets the saga go on")
        elif isinstance(found, Called):
            for word, slot, outcome in self._handled(place, at, found, troubles=world.troubles > 0):
                followed = self.carriers.goes_on(came, at, unmet, now, outcome)
                assert isinstance(followed, Followed)
                what = f"the {at[1]} of {at[0]} is {word}"
                done = self._written(world, index, place._replace(slot=slot), at, came, followed, what)
                yield done._replace(trouble=word in ("tried in vain", "for a person"))

    def _handled(
        self, place: Place, at: At, called: Called, *, troubles: bool
    ) -> Iterator[tuple[str, Slot, m.Message]]:
        """What becomes of a half of a step, by the barrier."""
        name, phase, _ = at
        slot, row = place.slot, place.slot.row
        if KEEPS not in self.guards and phase is ACTION:
            row = None
        ruling = arrives(Arrival(phase, 1, NOW, 0, called.known), {} if row is None else {1: row}, NOW)
        if ruling.verdict is not Verdict.RUN:
            kept = slot if ruling.entry is None else slot._replace(row=ruling.entry)
            yield f"answered '{answer(ruling.verdict, row)}'", kept, _barred(at, ruling.verdict, row)
            return
        if phase is UNDO:
            done = Slot((row or Entry(Kept.SUCCEEDED))._replace(compensated=True), slot.acted, slot.undone + 1)
        else:
            done = Slot(Entry(Kept.SUCCEEDED, result=b"null"), slot.acted + 1, slot.undone)
        yield "done", done, of(name, phase, "done")
        if (name, phase) == ("b", ACTION):
            yield "rejected", slot._replace(row=Entry(Kept.REJECTED, reason="no")), of(name, phase, "rejected")
        if troubles:
            yield "tried in vain", slot, of(name, phase, "failed")
            park = "done" if phase is UNDO and STUCK not in self.guards else "park"
            yield "for a person", slot, of(name, phase, park)

    def _written(
        self, world: World, index: int, place: Place, at: At, came: Came, followed: Followed, what: str
    ) -> Done:
        """One transaction. What is there of the hop has not moved, or nothing of this stays."""
        row = dict(place.rows).get(at)
        fits = row is None or row.stand == UNKNOWN or self._length(row) == self.carriers.histories[came.history].length
        if row is not None and not fits and MOVED in self.guards:
            return Done(f"{what}, and rolled back: more is known of the hop", world, self._out_again(row, at))
        said, length = dict(followed.answers), self.carriers.histories[followed.came.history].length
        marks = tuple((mark, said.get(mark, word), length if mark in said else at_) for mark, word, at_ in place.marks)
        rows = put(place.rows, at, Row(followed.stand, followed.came, followed.due))
        after = self._at(world, index, place._replace(rows=rows, marks=marks))
        if not self._is_one(after, followed.came):
            after = after._replace(wrong="the saga has two histories")
        answers = (
            self.letters.number(Letter("answer", mark=mark, word=word, length=length)) for mark, word in said.items()
        )
        return Done(what, after, (*self._sends(followed, late=False), *answers))

    def _is_one(self, world: World, came: Came) -> bool:
        rows = (row for number in world.places for _, row in self.places.all[number].rows)
        return all(self.carriers.are_one(row.came.history, came.history) for row in rows)

    def marked(self, world: World, letter: Letter) -> Iterator[Done]:
        """What somebody wants comes to a service; a hop that is held there meets it at once."""
        index = NAMES.index(letter.to)
        place = self.places.all[world.places[index]]
        known = {mark: (word, length) for mark, word, length in place.marks}
        sends: tuple[int, ...] = ()
        if letter.mark not in known:
            world = self._at(world, index, place._replace(marks=(*place.marks, (letter.mark, "", 0))))
        elif known[letter.mark][0]:
            word, length = known[letter.mark]
            sends = (self.letters.number(Letter("answer", mark=letter.mark, word=word, length=length)),)
        held = [(at, row) for at, row in place.rows if row.stand in ("waiting", PARKED) and place.knows]
        found = [done for at, row in held for done in self._goes_on(world, index, at, row.came, NOW)]
        if not found:
            yield Done(f"{letter.to} keeps {letter}", world, sends)
        for done in found:
            yield done._replace(what=f"{letter.to} takes {letter}: {done.what}", sends=(*sends, *done.sends))

    def held(self, world: World, index: int, place: Place) -> Iterator[tuple[str, bool, World]]:
        """What waits at a service: for the next attempt, or to be known."""
        if not place.knows:
            yield f"{NAMES[index]} comes to know the plan", True, self._at(world, index, place._replace(knows=True))
            return
        for at, row in place.rows:
            if row.stand in ("waiting", UNKNOWN):
                for what, after, sends, trouble in self._goes_on(world, index, at, row.came, max(row.due, NOW)):
                    spent = after._replace(net=with_(world.net, sends), troubles=world.troubles - trouble)
                    yield f"it is time: {what}", not trouble, spent

    def _at(self, world: World, index: int, place: Place) -> World:
        before, after = world.places[:index], world.places[index + 1 :]
        return world._replace(places=(*before, self.places.number(place), *after))


def _barred(at: At, verdict: Verdict, row: Entry | None) -> m.Message:
    """What the core is told where the handler was not called: as `barred` of `amends.run.hop` has it."""
    name, phase, _ = at
    word = answer(verdict, row)
    if verdict is Verdict.REPLAY:
        return of(name, phase, "rejected" if word is Word.REJECTED else "done")
    return of(name, phase, "void") if word is Word.VOID else m.Barred(name, phase, word)
