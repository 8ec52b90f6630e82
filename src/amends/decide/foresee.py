"""What would come of a message: it is decided on a copy, and so is all that follows as long as each call succeeds.

Guarantees: nothing is changed; what is foreseen is what would be decided, by the same rules.
Must not: guess what only the user's code can say: what is behind a condition, a list or a time is not foreseen.
"""

from __future__ import annotations

from typing import NamedTuple

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Decision, Question, Word
from amends.decide.events import Phase
from amends.decide.plan import Plan
from amends.decide.state import State, Status, in_flight

CALLS_MAX = 50
BEGUN = (e.Issued, e.Sent)
_FORESEEN = ("request", "accept")


class Foreseen(NamedTuple):
    """What would come of a mail. word: the answer; None where that waits for the outcome of the pivot. changes: whether
    anything comes of it. status: of the saga, at once. calls: what would be called, in order. end: where that leads to.
    more: something may follow that was not looked at, or that nobody can tell."""

    word: Word | None
    detail: str
    changes: bool
    status: Status
    calls: tuple[tuple[str, Phase], ...] = ()
    end: Status = Status.RUNNING
    more: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it would be done, now or once the outcome of the pivot is known."""
        return self.word in (None, Word.ACCEPTED)


def foresee(plan: Plan, state: State, mail: m.Mail, now: float, *, calls: int = CALLS_MAX) -> Foreseen:
    """What would come of a mail. calls: no more are looked for once there are so many."""
    decision = decide(plan, state, mail, now)
    reply = next((reply for reply in decision.replies if reply.mail == mail.mail), None)
    word, detail = (None, "") if reply is None else (reply.word, reply.detail)
    status = Status(decision.state.status)
    if word not in (None, Word.ACCEPTED) or not decision.events:
        return Foreseen(word, detail, changes=False, status=status, end=status)
    found, decision, more = _followed(plan, decision, now, calls)
    return Foreseen(word, detail, True, status, found, Status(decision.state.status), more)


def _followed(
    plan: Plan, decision: Decision, now: float, calls: int
) -> tuple[tuple[tuple[str, Phase], ...], Decision, bool]:
    """All that follows. What was in flight before comes to its end too, and counts as nothing new."""
    found: dict[tuple[str, Phase], None] = {}
    while True:
        found.update({(event.address, event.phase): None for event in decision.events if isinstance(event, BEGUN)})
        if any(question.kind not in _FORESEEN for question in decision.questions):
            return tuple(found), decision, True
        flying = in_flight(decision.state)
        if decision.questions:
            message: m.Message = m.Answers(tuple(map(_answered, decision.questions)))
        elif decision.state.ended or decision.state.status is Status.PARKED:
            return tuple(found), decision, False
        elif len(found) >= calls or not flying:
            return tuple(found), decision, True
        else:
            message = m.Done(*flying[0])
        decision = decide(plan, decision.state, message, now)


def _answered(question: Question) -> m.Answer:
    """What is foreseen of a question: that a request builds a command, and that a value is taken."""
    return m.Answer(question.kind, question.address, flag=question.kind == "accept", items=(b"null",))
