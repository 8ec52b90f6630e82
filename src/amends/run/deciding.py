"""A decision with all its questions answered: one row, however many turns.

Guarantees: nothing is decided twice, and nothing asked twice.
Must not: write.
"""

from __future__ import annotations

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Decision
from amends.decide.messages import Message
from amends.decide.plan import Plan
from amends.decide.state import State
from amends.run.supply import Supply


def decided(plan: Plan, state: State | None, message: Message, now: float, supply: Supply) -> Decision:
    """What follows from a message, with what the user's functions said to it."""
    decision = decide(plan, state, message, now)
    if not decision.questions:
        return decision
    events, replies = decision.events, decision.replies
    while decision.questions:
        answers = tuple(supply.answer(question, decision.state, now) for question in decision.questions)
        decision = decide(plan, decision.state, m.Answers(answers), now)
        events, replies = events + decision.events, replies + decision.replies
    return decision._replace(events=events, replies=replies)


def too_long(decision: Decision, lines: int) -> m.Halt | None:
    """What a saga is told whose history has more lines than it may, once something fails again."""
    if decision.state.length <= lines or not any(type(event) is e.Failed for event in decision.events):
        return None
    return m.Halt(f"its history has more than {lines} lines since the last act of a person")
