"""What a person could do now, and what would come of it: the core is asked, nothing is guessed.

Every act that might make sense is put to the pure core on a copy of the saga's state; those that
it accepts are given. So what is offered is what would be done, and no rule stands here twice.

Guarantees: an act that is given would be accepted by a worker that sees the same state.
Must not: change anything, or say what is in a payload.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.foresee import Foreseen, foresee
from amends.decide.plan import Plan, StepNode, WaitNode
from amends.decide.state import Action, State, Status, Undo
from amends.operate.values import Act, Effect, Preview

STEPS_MAX = 20
SENTENCE_CALLS = 3  # that a sentence names
_MAIL = "preview"
_OPEN = frozenset({Action.STUCK, Action.UNKNOWN, Action.WAITING, Undo.STUCK, Undo.WAITING})
_ENDS = {Status.COMPLETED: "completed", Status.COMPENSATED: "compensated"}


def acts(plan: Plan, state: State, now: float, live: frozenset[int]) -> tuple[Act, ...]:
    """The acts that would be accepted, the mildest first. live: the workers that are alive."""
    if state.ended:
        return ()
    return tuple(_accepted(plan, state, now, live))


def preview(plan: Plan, state: State, mail: m.Mail, now: float, version: int) -> Preview:
    """What a mail would do. version: of the saga, as it is seen."""
    verb, step = _about(mail)
    found = foresee(plan, state, mail, now)
    if not found.accepted:
        return Preview(verb, step, False, found.detail, version, (), str(found.status))
    effects = tuple(effect_of(plan, *call) for call in found.calls)
    why = "it is done once the outcome of the pivot is known" if found.word is None else found.detail
    return Preview(verb, step, True, why, version, effects, str(found.status))


def effect_of(plan: Plan, address: str, phase: Phase) -> Effect:
    """A call, in words."""
    node = plan.node(address)
    contract = node.command if isinstance(node, StepNode) else ""
    does = f"calls {address}" if phase is Phase.ACTION else f"undoes {address}"
    by = f" ({'' if phase is Phase.ACTION else 'the undo of '}{contract})" if contract else ""
    return Effect(address, str(phase), f"{does}{by}", contract)


def _about(mail: m.Mail) -> tuple[str, str]:
    """The verb, and the step or signal, if it is about one."""
    if isinstance(mail, m.Operate):
        return mail.verb, mail.address
    return type(mail).__name__.lower(), mail.address if isinstance(mail, m.Signal) else ""


def _accepted(plan: Plan, state: State, now: float, live: frozenset[int]) -> Iterator[Act]:
    def ask(verb: str, address: str = "", result: bytes | None = None, *, calls: int = 1) -> Foreseen | None:
        """What would come of it; None of what is refused or comes to nothing."""
        found = foresee(plan, state, m.Operate(_MAIL, verb, address, "", "", result, live), now, calls=calls)
        return found if found.accepted and found.changes else None

    addresses = _candidates(state)
    for address in addresses:
        if (found := ask("retry", address)) is not None:
            may_change = _may_change(plan, state, address, now)
            yield Act("retry", address, effect=_sentence(plan, found), may_change=may_change)
    if (found := ask("unpark", calls=SENTENCE_CALLS)) is not None:
        yield Act("unpark", "", effect=_sentence(plan, found))
    for address in addresses:
        if (found := ask("skip", address)) is not None:
            yield Act("skip", address, effect=_sentence(plan, found))
        if (found := ask("resolve", address)) is not None:
            yield Act("resolve", address, effect=_sentence(plan, found))
        elif (found := ask("resolve", address, b"{}")) is not None:
            yield Act("resolve", address, needs_value=True, effect=_sentence(plan, found))
    for wait in open_waits(plan, state):
        yield Act("signal", wait, needs_value=True, effect=f"the saga goes on from {wait}")
    if (found := ask("compensate", calls=SENTENCE_CALLS)) is not None:
        yield Act("compensate", "", effect=_sentence(plan, found))
        return
    found = foresee(plan, state, m.Cancel(_MAIL, "", ""), now, calls=SENTENCE_CALLS)
    if found.word is not None and found.accepted and found.changes:
        yield Act("cancel", "", effect=_sentence(plan, found))


def _may_change(plan: Plan, state: State, address: str, now: float) -> bool:
    """Whether a step may be retried with other arguments, perhaps after a person has found out what became of it."""
    mail = m.Operate(_MAIL, "retry", address, "", "", arguments=b"null", settled=True)
    return foresee(plan, state, mail, now, calls=1).accepted


def _sentence(plan: Plan, found: Foreseen) -> str:
    """What comes of an act, as far as it is worth a sentence."""
    parts = [effect_of(plan, *call).what for call in found.calls[:SENTENCE_CALLS]]
    if len(found.calls) > SENTENCE_CALLS:
        parts.append("and so on")
    if not found.more and found.end in _ENDS:
        parts.append(f"and the saga is {_ENDS[found.end]}")
    elif found.more and parts and parts[-1] != "and so on":
        parts.append("and the saga goes on")
    return ", then ".join(parts).replace(", then and", ", and") or "nothing is called"


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
