"""The fingerprint of what went wrong: the same for all sagas in which the same went wrong at the same step.

What differs from one saga to the next is taken out of the reason first: what stands in quotes, uuids, addresses in
memory and other hexadecimal numbers, and all digits.

Guarantees: the same words give the same fingerprint, in every process; a hostile reason costs no more than a long one.
Must not: look at a saga's input or results.
"""

from __future__ import annotations

import re
from hashlib import sha256

from amends.decide.state import Action, State, Status, Undo

REASON_CHARACTERS = 500  # of a reason without what varies; what comes behind is detail
READ_CHARACTERS = 4_000  # of a reason as it was given: what varies may be long
DIGITS = 12
_QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
_HEX = re.compile(r"\b(?:0x[0-9a-f]+|[0-9a-f]{6,}(?:-[0-9a-f]{2,})*)\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d+(?:[.,:_]\d+)*")
_SPACE = re.compile(r"\s+")
_ITEM = re.compile(r"\[\d+\]")


def fingerprint(saga: str, step: str, reason: str) -> str:
    """Twelve hexadecimal digits for what went wrong. saga: the name of the definition. step: its address, or empty."""
    parts = "\0".join((saga, step_of(step), plain(reason)))
    return sha256(parts.encode("utf-8", "replace")).hexdigest()[:DIGITS]


def plain(reason: str) -> str:
    """A reason without what differs from one saga to the next."""
    text = _QUOTED.sub("'…'", reason[:READ_CHARACTERS])
    text = _NUMBER.sub("#", _HEX.sub(_number_or_word, text))
    return _SPACE.sub(" ", text).strip().lower()[:REASON_CHARACTERS]


def _number_or_word(found: re.Match[str]) -> str:
    """What stands for a hexadecimal number; of words without a digit, such as `decade`, none is taken. The pattern does
    not look ahead for a digit: over a long reason that would take the square of its length."""
    return "#" if _DIGIT.search(found[0]) else found[0]


def step_of(address: str) -> str:
    """A step without the number of the item that it is one of."""
    return _ITEM.sub("", address)


def what_went_wrong(state: State) -> tuple[str, str] | None:
    """The step and the reason: of the first stuck step, else why the saga is parked, else why it went back; None where
    nothing went wrong. Of an undo the reason says that it is one: the same error there is another trouble."""
    for address, step in state.steps.items():
        if step.undo is not None:
            if step.undo.status is Undo.STUCK:
                return address, f"undo: {step.undo.reason}"
        elif step.action.status is Action.STUCK:
            return address, step.action.reason
    if state.status is Status.PARKED:
        return _in_doubt(state), state.parked
    if state.turned is None:
        return None
    return state.turned.address, state.turned.reason or str(state.turned.cause)


def _in_doubt(state: State) -> str:
    """The pivot of which nobody knows whether it happened; empty where it is something else that parked the saga."""
    doubt = (at for at, step in state.steps.items() if step.undo is None and step.action.status is Action.UNKNOWN)
    return next(doubt, "")
