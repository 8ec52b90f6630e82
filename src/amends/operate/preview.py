"""What a person could do now: the core is asked, nothing is guessed.

Every act that might make sense is put to the pure core on a copy of the saga's state; those that
it accepts are given. So what is offered is what would be done, and no rule stands here twice.

Guarantees: an act that is given would be accepted by a worker that sees the same state.
Must not: change anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Word
from amends.decide.messages import Message
from amends.decide.plan import Plan, WaitNode
from amends.decide.state import Action, State, Undo
from amends.operate.values import Act

STEPS_MAX = 20
_MAIL = "preview"
_OPEN = frozenset({Action.STUCK, Action.UNKNOWN, Action.WAITING, Undo.STUCK, Undo.WAITING})


def acts(plan: Plan, state: State, now: float, live: frozenset[int]) -> tuple[Act, ...]:
    """The acts that would be accepted, the mildest first. live: the workers that are alive."""
    if state.ended:
        return ()
    return tuple(_accepted(plan, state, now, live))


def _accepted(plan: Plan, state: State, now: float, live: frozenset[int]) -> Iterator[Act]:
    def says_yes(message: Message) -> bool:
        """Accepted, and something comes of it."""
        decision = decide(plan, state, message, now)
        accepted = any(reply.mail == _MAIL and reply.word is Word.ACCEPTED for reply in decision.replies)
        return accepted and bool(decision.events)

    def operate(verb: str, address: str = "", result: bytes | None = None) -> bool:
        return says_yes(m.Operate(_MAIL, verb, address, "", "", result, live))

    addresses = _candidates(state)
    for address in addresses:
        if operate("retry", address):
            yield Act("retry", address)
    if operate("unpark"):
        yield Act("unpark", "")
    for address in addresses:
        if operate("skip", address):
            yield Act("skip", address)
        if operate("resolve", address):
            yield Act("resolve", address)
        elif operate("resolve", address, b"{}"):
            yield Act("resolve", address, needs_value=True)
    for wait in open_waits(plan, state):
        yield Act("signal", wait, needs_value=True)
    if operate("compensate"):
        yield Act("compensate", "")
    elif says_yes(m.Cancel(_MAIL, "", "")):
        yield Act("cancel", "")


def open_waits(plan: Plan, state: State) -> tuple[str, ...]:
    """The signals that the saga waits for."""
    return tuple(
        node.address
        for node in plan.waits
        if isinstance(node, WaitNode)
        and state.turned is None
        and node.address not in state.kept
        and state.step(node.address).action.status is Action.WAITING
    )


def _candidates(state: State) -> list[str]:
    """The steps on which there may be anything to do: asking about every one costs too much."""
    found = [
        address
        for address, step in state.steps.items()
        if (step.action.status if step.undo is None else step.undo.status) in _OPEN
    ]
    return found[:STEPS_MAX]
