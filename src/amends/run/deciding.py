"""A decision with all its questions answered: one row, however many turns.

Guarantees: nothing is decided twice, and nothing asked twice.
Must not: write.
"""

from __future__ import annotations

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
