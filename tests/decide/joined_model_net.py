"""The services of the joined model: a row and an effect for each step, and the real barrier before them.

Guarantees: what is looked up is what `arrives` and `answer` say. A handler's transaction is one move where it
locks its row first, since nobody who would see it half done gets in; else it begins, and ends later.
Must not: know of workers.
"""

from __future__ import annotations

from typing import NamedTuple

from joined_model_core import STEPS, Known, Letter, Letters

from amends.decide.barrier import Arrival, Entry, Kept, Verdict, answer, arrives
from amends.decide.events import ACTION, UNDO
from amends.decide.wire import Word

LOCK, TOMBSTONE, KEEPS = "the row is locked first", "an undo leaves a tombstone", "an outcome is kept"
NOW = 1e9


class Slot(NamedTuple):
    """One step at its service: the barrier's row, and the effects that were committed."""

    row: Entry | None = None
    acted: int = 0
    undone: int = 0

    @property
    def stands(self) -> bool:
        """Whether the effect is there."""
        return self.acted > self.undone


class Delivered(NamedTuple):
    """One way in which a command can end. slots: after it. reply: by number. ran: the handler was called."""

    what: str
    slots: int
    reply: int
    ran: bool


class Services:
    """All three, by the number of what they have. rejects: steps that may say no."""

    def __init__(self, letters: Letters, guards: frozenset[str], rejects: str) -> None:
        self._letters = letters
        self._guards = guards
        self._rejects = rejects
        self.slots: list[tuple[Slot, ...]] = []
        self._numbers: dict[tuple[Slot, ...], int] = {}
        self._delivered: dict[tuple[int, int], tuple[Delivered, ...]] = {}
        self._ended: dict[tuple[int, int], tuple[Delivered, ...]] = {}
        self._wrong: dict[tuple[int, int], str] = {}

    def begin(self) -> int:
        """Nothing has come."""
        return self._number((Slot(),) * len(STEPS))

    def delivered(self, slots: int, number: int) -> tuple[Delivered, ...]:
        """A command arrives, and its transaction ends."""
        found = self._delivered.get((slots, number))
        if found is None:
            letter = self._letters.all[number]
            slot = self.slots[slots][letter.half >> 1]
            found = tuple(self._deliver(slots, letter, slot))
            self._delivered[slots, number] = found
        return found

    def ended(self, slots: int, number: int) -> tuple[Delivered, ...]:
        """A handler that was called at some time before ends now, whatever the row says meanwhile."""
        found = self._ended.get((slots, number))
        if found is None:
            letter = self._letters.all[number]
            slot = self.slots[slots][letter.half >> 1]
            found = self._ended[slots, number] = tuple(self._run(slots, letter, slot))
        return found

    def _deliver(self, slots: int, letter: Letter, slot: Slot) -> list[Delivered]:
        row = slot.row
        if KEEPS not in self._guards and row is not None and row.action is Kept.SUCCEEDED and not letter.half & 1:
            row = None
        rows = {} if row is None else {1: row}
        phase = UNDO if letter.half & 1 else ACTION
        ruling = arrives(Arrival(phase, 1, NOW, 0, letter.known), rows, NOW)
        if ruling.verdict is Verdict.RUN:
            return self._run(slots, letter, slot)
        kept = slot if ruling.entry is None else slot._replace(row=ruling.entry)
        if TOMBSTONE not in self._guards:
            kept = slot
        word = answer(ruling.verdict, row)
        return [self._ends(f"{letter} is answered '{word}'", slots, letter, kept, word, ran=False)]

    def _run(self, slots: int, letter: Letter, slot: Slot) -> list[Delivered]:
        if letter.half & 1:
            row = (slot.row or Entry(Kept.SUCCEEDED))._replace(compensated=True)
            done = Slot(row, slot.acted, slot.undone + 1)
            return [self._ends(f"{letter} is done", slots, letter, done, answer(Verdict.RUN, row), ran=True)]
        row = Entry(Kept.SUCCEEDED, result=b"1", command=b"1")
        word = answer(Verdict.RUN, row)
        found = [self._ends(f"{letter} is done", slots, letter, Slot(row, slot.acted + 1, slot.undone), word, ran=True)]
        if STEPS[letter.half >> 1] in self._rejects:
            row = Entry(Kept.REJECTED, reason="no")
            word = answer(Verdict.RUN, row)
            kept = slot._replace(row=row)
            found.append(self._ends(f"{letter} is rejected", slots, letter, kept, word, ran=True))
        return found

    def _ends(self, what: str, slots: int, letter: Letter, slot: Slot, word: Word, *, ran: bool) -> Delivered:
        place = letter.half >> 1
        before = self.slots[slots]
        after = self._number((*before[:place], slot, *before[place + 1 :]))
        return Delivered(what, after, self._letters.number(Letter(letter.half, word=word)), ran)

    def _number(self, slots: tuple[Slot, ...]) -> int:
        number = self._numbers.get(slots)
        if number is None:
            number = self._numbers[slots] = len(self.slots)
            self.slots.append(slots)
        return number

    def wrong(self, slots: int, state: int, known: Known) -> str:
        """What of the effects is not as it should be, or not as the saga says; empty if nothing."""
        found = self._wrong.get((slots, state))
        if found is None:
            found = self._wrong[slots, state] = _wrong(self.slots[slots], known)
        return found


def _wrong(slots: tuple[Slot, ...], known: Known) -> str:
    for name, slot, stands in zip(STEPS, slots, known.stands, strict=True):
        if slot.acted > 1:
            return f"{name} has its effect twice"
        if slot.undone > slot.acted:
            return f"{name} is undone more often than it was done"
        if stands is not None and slot.stands != stands:
            said = "stands" if stands else "does not stand"
            return f"the saga is {known.status} and says that the effect of {name} {said}"
        if known.status == "compensated" and slot.stands:
            return f"the saga is compensated, and the effect of {name} stands"
        if known.status == "completed" and not slot.stands:
            return f"the saga is completed, and the effect of {name} is not there"
    if slots[0].undone and any(slot.stands for slot in slots[1:]):
        return "a is undone before what came after it"
    return ""
