"""The whole system of the hop's model: three services, the saga's home, the network, a client and an operator.

Guarantees: all that can happen next is a move, and what must never be seen is a violation, in words.
Must not: know how worlds are visited.
"""

from __future__ import annotations

from collections.abc import Iterator

from hop_model_saga import ACT, CANCEL, ENDED, NAMES, PARKED, UNKNOWN
from hop_model_services import Services
from hop_model_world import (
    ACCEPTED,
    GUARDS,
    MET,
    NO,
    REVIVES,
    SENT,
    TOLD,
    TOO_LATE,
    Done,
    Home,
    Letter,
    Place,
    Scope,
    World,
    verb,
    with_,
    without,
)

from amends.decide.state import Status


class Model(Services):
    """The moves of a world."""

    def __init__(self, scope: Scope, guards: frozenset[str] = GUARDS) -> None:
        super().__init__(scope, guards)
        self._first = self.carriers.first()

    def first(self) -> World:
        """The saga's home row is committed, and its first baton with it."""
        places = tuple(self.places.number(Place(name != self.scope.unknown)) for name in NAMES)
        home = Home("open", self.carriers.histories[self._first.came.history].length, self._first.came)
        scope = self.scope
        return World(home, places, (self.baton(self._first, late=False),), *scope[:5])

    def moves(self, world: World) -> Iterator[tuple[str, bool, World]]:
        """Everything that can happen next."""
        for number in dict.fromkeys(world.net):
            yield from self._letter(world, number)
        for index, number in enumerate(world.places):
            yield from self.held(world, index, self.places.all[number])
        yield from self._home(world)

    def violation(self, world: World) -> str:
        """What must never be seen, in words; empty if all is well."""
        if world.wrong:
            return world.wrong
        slots = [self.places.all[number].slot for number in world.places]
        for name, slot in zip(NAMES, slots, strict=True):
            if slot.acted > 1 or slot.undone > slot.acted:
                return f"{name} has its effect, or is undone, twice"
        if slots[0].undone and slots[1].stands:
            return "a is undone before what came after it"
        home, history = world.home, self.carriers.histories[world.home.came.history]
        if home.act not in (NO, SENT, ACCEPTED) and self._was_tried_again(world):
            return f"the operator was told '{home.act}', and it was done"
        if home.stand == ENDED:
            for name, slot in zip(NAMES, slots, strict=True):
                if slot.stands != (history.status is Status.COMPLETED):
                    there = "stands" if slot.stands else "is not there"
                    return f"the saga is {history.status}, and the effect of {name} {there}"
            if home.cancel == ACCEPTED and not history.turned:
                return f"the client was told that the saga is cancelled, and it is {history.status}"
            if home.cancel == TOO_LATE and history.cancelled:
                return "the client was told that the cancel came too late, and the saga went back because of it"
        return ""

    def _was_tried_again(self, world: World) -> bool:
        rows = (row for number in world.places for _, row in self.places.all[number].rows)
        return any(self.carriers.histories[row.came.history].unparked for row in rows)

    def end_of(self, world: World) -> str:
        """Which good end this is: the home knows the end, whoever asked is answered, nothing is left to be done."""
        rows = (row for number in world.places for _, row in self.places.all[number].rows)
        if world.home.stand != ENDED or world.net or SENT in (world.home.cancel, world.home.act):
            return ""
        if any(row.stand not in ("passed", ENDED) for row in rows):
            return ""
        status = self.carriers.histories[world.home.came.history].status
        said: dict[str, str] = {NO: "nobody cancels", ACCEPTED: "cancelled", TOO_LATE: "cancelled too late"}
        return f"{status}, {said.get(world.home.cancel, world.home.cancel)}"

    # Messages

    def _letter(self, world: World, number: int) -> Iterator[tuple[str, bool, World]]:
        letter, rest = self.letters.all[number], without(world.net, number)
        if world.losses:
            yield f"{letter} is lost", False, world._replace(net=rest, losses=world.losses - 1)
        for what, taken, sends, trouble in self._taken(world, letter):
            after = taken._replace(troubles=world.troubles - 1) if trouble else taken
            yield what, not trouble, after._replace(net=with_(rest, sends))
            if world.doubles:
                twice = after._replace(net=with_(world.net, sends), doubles=world.doubles - 1)
                yield f"{what}, and comes twice", False, twice
            if world.crashes and (sends or after != world):
                back = self.letters.number(letter._replace(late=letter.kind == "baton"))
                died = after._replace(net=with_(rest, (*sends, back)), crashes=world.crashes - 1)
                yield f"{what}, and its participant dies before the ack", False, died

    def _taken(self, world: World, letter: Letter) -> Iterator[Done]:
        match letter.kind:
            case "baton":
                yield from self.arrives(world, letter)
            case "mark":
                yield from self.marked(world, letter)
            case _:
                home = self._heard(world.home, letter)
                forgot = world.home.stand == ENDED != home.stand
                wrong = "the home forgets that the saga has ended" if forgot else world.wrong
                yield Done(f"the home takes {letter}", world._replace(home=home, wrong=wrong))

    # The home

    def _heard(self, home: Home, letter: Letter) -> Home:
        if letter.kind == "told":
            length = self.carriers.histories[letter.came.history].length
            newer = home.length < length or (home.length == length and home.stand == "open")
            if TOLD in self.guards and (home.stand == ENDED or not newer):
                return home
            return home._replace(stand=letter.word, length=length, came=letter.came)
        if (home.cancel if letter.mark == CANCEL else home.act) != SENT:
            return home
        if letter.word == ACCEPTED and home.stand != ENDED and home.length < letter.length:
            home = home._replace(stand="open", length=letter.length)
        return home._replace(cancel=letter.word) if letter.mark == CANCEL else home._replace(act=letter.word)

    def _home(self, world: World) -> Iterator[tuple[str, bool, World]]:
        home = world.home
        kinds = [self.letters.all[number] for number in world.net]
        moving = any(letter.kind in ("baton", "told") for letter in kinds) or self._waits(world)
        if home.stand != ENDED and REVIVES in self.guards and (not moving or world.delays):
            revived = with_(world.net, (self.baton(self._first, late=True),))
            left = world.delays - 1 if moving else world.delays
            yield "the home sends the first baton again", not moving, world._replace(net=revived, delays=left)
        if self.scope.cancels and home.cancel == NO:
            if home.stand == ENDED:
                late = world._replace(home=home._replace(cancel=TOO_LATE))
                yield "a client cancels, and the home says that it is too late", False, late
            else:
                yield "a client cancels", False, self._wanted(world, CANCEL, home._replace(cancel=SENT))
        if home.stand == PARKED and home.act == NO:
            yield "an operator has it tried again", True, self._wanted(world, ACT, home._replace(act=SENT))
        for mark, said in ((CANCEL, home.cancel), (ACT, home.act)):
            if said == SENT and not any(letter.mark == mark for letter in kinds):
                yield from self._asks_again(world, mark)

    def _waits(self, world: World) -> bool:
        places = (self.places.all[number] for number in world.places)
        return any(row.stand in ("waiting", UNKNOWN) for place in places for _, row in place.rows)

    def _asks_again(self, world: World, mark: str) -> Iterator[tuple[str, bool, World]]:
        home = world.home
        if home.stand == ENDED and (mark not in home.came.marks or MET not in self.guards):
            late = home._replace(cancel=TOO_LATE) if mark == CANCEL else home._replace(act=TOO_LATE)
            yield f"the home says that the {verb(mark)} is too late", True, world._replace(home=late)
        else:
            yield f"the home sends the {verb(mark)} again", True, self._wanted(world, mark, home)

    def _wanted(self, world: World, mark: str, home: Home) -> World:
        sent = tuple(self.letters.number(Letter("mark", name, mark=mark)) for name in NAMES)
        return world._replace(net=with_(world.net, sent), home=home)
