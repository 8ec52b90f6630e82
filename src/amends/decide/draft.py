"""One decision in the making: the state as it will be, and what has been decided so far.

Guarantees: the state handed in is never changed; every change goes through an event.
Must not: hold a rule. Rules are in the modules that write on a draft.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from amends.decide.events import Event, Parked, PivotPassed, Refused, TurnedBack
from amends.decide.evolve import apply
from amends.decide.plan import Plan
from amends.decide.state import State


class Word(StrEnum):
    """The answer to whoever sent a signal, a cancel or an operator's act."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    TOO_LATE = "too late"
    CHANGED = "changed"  # the saga is not any more what the sender looked at


class Reply(NamedTuple):
    """What the sender of a mail is told."""

    mail: str
    word: Word
    detail: str = ""


class Question(NamedTuple):
    """What only the user's code can say. kind: "condition", "over", "until", "request" (the command of a
    step) or "accept", the last with the signal's value."""

    kind: str
    address: str
    value: bytes = b""


class Decision(NamedTuple):
    """What follows from one message.

    state: after `events`. questions: if any, nothing is settled until they are answered.
    replies: to mails. wake: the instant at which time alone changes something, if any.
    """

    state: State
    events: tuple[Event, ...]
    questions: tuple[Question, ...]
    replies: tuple[Reply, ...]
    wake: float | None


_new = tuple.__new__  # as in `evolve.py`


class Draft:
    """A decision being written."""

    __slots__ = ("events", "moving", "now", "plan", "questions", "replies", "state", "wake")

    def __init__(self, plan: Plan, state: State, now: float) -> None:
        self.plan: Plan = plan
        self.state: State = state
        self.now: float = now
        self.events: list[Event] = []
        self.questions: list[Question] = []
        self.replies: list[Reply] = []
        self.wake: float | None = None
        self.moving: bool = False  # something goes on without a person

    def emit(self, event: Event) -> None:
        """Let it have happened."""
        self.events.append(event)
        apply(self.state, event)

    def ask(self, question: Question) -> None:
        """Put a question to the shell; the decision goes on with the answer."""
        self.questions.append(question)
        self.moving = True

    def wake_at(self, instant: float) -> None:
        """Something is due then."""
        self.moving = True
        self.remind_at(instant)

    def remind_at(self, instant: float) -> None:
        """Time changes something then; that alone does not keep a saga from coming to rest."""
        if self.wake is None or instant < self.wake:
            self.wake = instant

    def accept(self, mail: str, detail: str = "") -> None:
        """Tell the sender that it was done."""
        self.replies.append(Reply(mail, Word.ACCEPTED, detail))

    def refuse(self, verb: str, mail: str, why: str, word: Word = Word.REFUSED) -> None:
        """Tell the sender that it was not done, and keep that in the history."""
        self.emit(Refused(verb, mail, why))
        self.replies.append(Reply(mail, word, why))

    def pass_pivot(self, address: str) -> None:
        """From here only forward; whoever wanted to cancel is told."""
        waiting = self.state.cancels
        self.emit(PivotPassed(address))
        for cancel in waiting:
            self.refuse("cancel", cancel.mail, f"the saga passed its pivot, {address}", Word.TOO_LATE)

    def turn(self, cause: str, address: str, reason: str) -> None:
        """Go back; whoever wanted to cancel has it."""
        waiting = self.state.cancels
        self.emit(TurnedBack(cause, address, reason))
        for cancel in waiting:
            self.accept(cancel.mail)

    def park(self, reason: str) -> None:
        """Come to rest; whoever waits for the pivot to cancel is told."""
        waiting = self.state.cancels
        self.emit(Parked(reason))
        for cancel in waiting:
            self.refuse("cancel", cancel.mail, f"the saga is parked: {reason}")

    def decision(self) -> Decision:
        """The finished value."""
        return _new(Decision, (self.state, tuple(self.events), tuple(self.questions), tuple(self.replies), self.wake))
