"""Secrets that turn up in what an exception says, masked before it is kept anywhere.

A reason is stored, logged, sent and shown. What is marked in the payloads that a function was called with is taken
out of its words first: as it stands, and as `repr`, JSON and URLs would write it.

Guarantees: a marked text of four characters or more is in no reason, wherever it stood in one; a shorter one, or a
number, not as a word of its own.
Must not: know why something failed, or cost anything where nothing is marked.
"""

from __future__ import annotations

import json
import re
import traceback
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import msgspec

from amends.decide import messages as m
from amends.decide.plan import Payload, Plan
from amends.decide.state import State
from amends.define.secret import MASK, found

WORD_CHARACTERS = 3  # what is no longer is masked where it is a word of its own, or little would be left
_CUT = " …"  # where `describe` cut a text


class Known(NamedTuple):
    """A payload that a function was given, and where its marked fields stand."""

    payload: bytes | None
    pointers: tuple[str, ...]


def unsaid(text: str, secrets: Iterable[object]) -> str:
    """A text without some values."""
    forms = sorted({form for value in secrets for form in _forms(value) if form}, key=len, reverse=True)
    if not forms:
        return text
    text = re.sub("|".join(map(_pattern, forms)), MASK, text)
    if text.endswith(_CUT):
        kept = text.removesuffix(_CUT)
        text = f"{_without_beginning(kept, forms)}{_CUT}"
    return text


def unsaid_by(message: m.Message, secrets: Iterable[object]) -> m.Message:
    """How something ended, without some values in its reason."""
    if isinstance(message, (m.Failure, m.No)):
        return message._replace(reason=unsaid(message.reason, secrets))
    return message


def told_of(error: BaseException, secrets: Sequence[object]) -> str:
    """A traceback, for the log, without some values."""
    return unsaid("".join(traceback.format_exception(error)), secrets)


def in_payloads(known: Iterable[Known]) -> list[object]:
    """The marked values of some payloads."""
    values: list[object] = []
    for payload, pointers in known:
        if payload and pointers:
            try:
                values += found(msgspec.json.decode(payload), pointers)
            except (msgspec.MsgspecError, ValueError):
                continue  # nothing was made of it either
    return values


def in_state(plan: Plan, state: State | None) -> list[object]:
    """The marked values of a saga, as far as it has come."""
    if not plan.secrets or state is None:
        return []
    known = [Known(state.input, plan.secrets_in(Payload.INPUT))]
    for address, step in state.steps.items():
        known.append(Known(step.result, plan.secrets_in(Payload.RESULT, address)))
        known.append(Known(step.command, plan.secrets_in(Payload.COMMAND, address)))
    for address, group in state.groups.items():
        pointers = plan.secrets_in(Payload.ITEM, address)
        known += [Known(item, pointers) for item in group.items]
    known += [Known(value, plan.secrets_in(Payload.RESULT, name)) for name, value in state.kept.items()]
    known += [Known(changed, ("",)) for changed in state.given.values()]  # by names of parameters, which no plan has
    return in_payloads(known)


def _forms(value: object) -> Iterator[str]:
    text = value if isinstance(value, str) else str(value)
    yield text
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield quote(text, safe="")
    yield quote(text)
    yield quote_plus(text)
    if len(text) > WORD_CHARACTERS:
        try:
            raw = b64decode(text, validate=True)  # how bytes are kept
        except ValueError:
            return
        if len(raw) > WORD_CHARACTERS:
            yield repr(raw)[2:-1]
            yield raw.hex()


def _pattern(form: str) -> str:
    return rf"(?<!\w){re.escape(form)}(?!\w)" if _is_short(form) else re.escape(form)


def _is_short(form: str) -> bool:
    return len(form) <= WORD_CHARACTERS or (form.isdecimal() and len(form) <= 2 * WORD_CHARACTERS)


def _without_beginning(text: str, forms: Iterable[str]) -> str:
    """A text that was cut, without the beginning of a form at its end."""
    for form in forms:
        for length in range(min(len(form) - 1, len(text)), WORD_CHARACTERS, -1):
            if text.endswith(form[:length]):
                return text[:-length] + MASK
    return text
