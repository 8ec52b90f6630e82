"""The worlds of the hop's model: services' databases, a home, letters, and which guards there are.

Guarantees: a world is a value; databases and letters are numbers.
Must not: move.
"""

from __future__ import annotations

from typing import NamedTuple

from hop_model_saga import CANCEL, Came
from joined_model_net import Slot

from amends.decide.events import ACTION
from amends.run.journey import At

MOVED, KEEPS, ONCE = "the hop has not moved", "an outcome is kept", "a baton is looked up"
AGAIN, REVIVES, ASIDE = "a repeated baton goes out again", "silence is noticed", "an unknown plan is kept"
TOLD, MET, TRAVEL = "an end stays an end", "too late only if not met", "marks travel"
STUCK, WAITS, SEEN = "a stuck undo keeps the baton", "due at once waits", "marks are met at the commit"
GUARDS = frozenset({MOVED, KEEPS, ONCE, AGAIN, REVIVES, ASIDE, TOLD, MET, TRAVEL, STUCK, WAITS, SEEN})
NO, SENT, ACCEPTED, TOO_LATE = "", "sent", "accepted", "too late"
Net = tuple[int, ...]


class Scope(NamedTuple):
    """How much is explored. crashes: of a participant behind its commit. losses: of messages. delays: a home that sends
    its first baton again though the saga is on its way. troubles: attempts that fail, or ask for a person, which one
    at most may do, since the operator acts once. unknown: a
    service that does not know the plan at first. delay: seconds until the next attempt."""

    crashes: int = 0
    doubles: int = 0
    losses: int = 0
    delays: int = 0
    troubles: int = 0
    cancels: bool = False
    unknown: str = ""
    delay: float = 10.0


class Letter(NamedTuple):
    """A message. kind: baton, mark, told or answer. to: of a baton and a mark. late: a baton that its service looks up
    before it begins. word: of an answer, or how the saga stands. length: of the history of an answer."""

    kind: str
    to: str = ""
    at: At = ("", ACTION, 1)
    came: Came = Came(0, ())
    late: bool = False
    mark: str = ""
    word: str = ""
    length: int = 0

    def __str__(self) -> str:
        match self.kind:
            case "baton":
                return f"the baton for the {self.at[1]} of {self.at[0]}{', sent again' if self.late else ''}"
            case "mark":
                return f"the {verb(self.mark)} for {self.to}"
            case "told":
                return f"the word that the saga is {self.word}"
            case _:
                return f"the answer '{self.word}' to the {verb(self.mark)}"


def verb(mark: str) -> str:
    return "cancel" if mark == CANCEL else "operator's act"


class Row(NamedTuple):
    """A hop, as its service keeps it."""

    stand: str
    came: Came
    due: float = 0.0


class Place(NamedTuple):
    """A service's database. marks: what is wanted, what was said to it, and the length of the history then."""

    knows: bool = True
    slot: Slot = Slot()
    rows: tuple[tuple[At, Row], ...] = ()
    marks: tuple[tuple[str, str, int], ...] = ()


class Home(NamedTuple):
    """The row of the saga at its home. cancel, act: what was said to them."""

    stand: str
    length: int
    came: Came
    cancel: str = NO
    act: str = NO


class World(NamedTuple):
    """All there is. places: databases by number. net: letters by number, in order."""

    home: Home
    places: tuple[int, ...]
    net: tuple[int, ...]
    crashes: int
    doubles: int
    losses: int
    delays: int
    troubles: int
    wrong: str = ""


class Done(NamedTuple):
    """One way in which a letter is taken. sends: letters by number. trouble: whether it is one."""

    what: str
    world: World
    sends: tuple[int, ...] = ()
    trouble: bool = False


def put(rows: tuple[tuple[At, Row], ...], at: At, row: Row) -> tuple[tuple[At, Row], ...]:
    return tuple(sorted({**dict(rows), at: row}.items()))


def without(net: tuple[int, ...], number: int) -> tuple[int, ...]:
    place = net.index(number)
    return net[:place] + net[place + 1 :]


def with_(net: tuple[int, ...], numbers: tuple[int, ...]) -> tuple[int, ...]:
    """More of them; a third of the same would say nothing that the second did not, and is left out."""
    for number in numbers:
        if net.count(number) < 2:
            net = (*net, number)
    return tuple(sorted(net))
