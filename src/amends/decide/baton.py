"""The baton: a choreographed saga on its way, and what its services and its home tell each other beside it.

A baton is a saga's history, in the rows of a journal, and the half of a step that is next. Whoever holds it
decides as an orchestrator would.

Guarantees: what is read back is what was written; a message that lacks something, or has something that cannot
be, is refused with its name.
Must not: read a row of the history.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from amends.decide import wire
from amends.decide.events import Phase
from amends.decide.wire import KIND
from amends.errors import MessageRefused
from amends.message import Message

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_NAME_MAX = 200


class Kind(StrEnum):
    """Of a message: what the attribute `amendskind` says, beside those of `wire.py`."""

    BATON = "baton"
    WORD = "word"  # from who holds the baton to the home: how the saga stands
    MARK = "mark"  # from the home to all its services: what somebody wants of whoever holds the baton


class Stand(StrEnum):
    """How a choreographed saga stands, as its home is told."""

    ENDED = "ended"
    PARKED = "parked"
    UNKNOWN_PLAN = "unknown-plan"  # it waits for a service to know its plan


class Saga(NamedTuple):
    """Which saga, and of which plan. home: the service that started it."""

    id: bytes
    key: str
    plan: str
    fingerprint: str
    home: str


class Baton(NamedTuple):
    """type: the contract's name of the command that is next. history: the rows so far, as a JSON list. sent_at: an
    instant of the sender."""

    saga: Saga
    type: str
    step: str
    phase: Phase
    round: int
    history: bytes
    sent_at: float
    trace: Mapping[str, str] = wire.NO_TRACE


class Told(NamedTuple):
    """A word to the home. service: who says it. history: all rows."""

    saga: Saga
    stand: Stand
    service: str
    history: bytes


def baton_message(baton: Baton, id_: str, source: str) -> Message:
    """The message of a baton. id_: new for every send that was decided."""
    attributes = {
        KIND: Kind.BATON.value,
        **_attributes(baton.saga),
        "amendsstep": baton.step,
        "amendsphase": baton.phase.value,
        "amendsround": str(baton.round),
        **baton.trace,
    }
    saga = baton.saga
    return Message(id_, baton.type, source, baton.history, baton.sent_at, saga.key, saga.id.hex(), attributes)


def baton_of(message: Message) -> Baton:
    """The baton that a message is. Raises MessageRefused."""
    given = message.attributes
    _check_kind(given, Kind.BATON)
    if message.time <= 0:
        raise MessageRefused("it lacks the attribute time, when it was sent")
    return Baton(
        _saga_of(given),
        message.type,
        wire.address_in(given, "amendsstep"),
        wire.phase_in(given, "amendsphase"),
        wire.number_in(given, "amendsround", 1, wire.ROUNDS_MAX),
        message.data,
        message.time,
        wire.trace_in(given),
    )


def word_message(told: Told, id_: str, source: str, at: float) -> Message:
    """The message of a word to the home."""
    attributes = {
        KIND: Kind.WORD.value,
        **_attributes(told.saga),
        "amendsstand": told.stand.value,
        "amendsservice": told.service,
    }
    return Message(id_, "amends.word", source, told.history, at, told.saga.key, told.saga.id.hex(), attributes)


def word_of(message: Message) -> Told:
    """The word that a message is. Raises MessageRefused."""
    given = message.attributes
    _check_kind(given, Kind.WORD)
    stand = given.get("amendsstand", "")
    if stand not in _STANDS:
        raise MessageRefused(f"amendsstand is {stand!r:.40}: {' or '.join(_STANDS)} is expected")
    return Told(_saga_of(given), _STANDS[stand], _fitting(given, "amendsservice", _SERVICE), message.data)


_STANDS = {stand.value: stand for stand in Stand}


def _attributes(saga: Saga) -> dict[str, str]:
    return {
        "amendssaga": saga.id.hex(),
        "amendskey": saga.key,
        "amendsplan": saga.plan,
        "amendsfingerprint": saga.fingerprint,
        "amendshome": saga.home,
    }


def _saga_of(given: Mapping[str, str]) -> Saga:
    plan = wire.text_in(given, "amendsplan")
    if len(plan) > _NAME_MAX:
        raise MessageRefused(f"amendsplan has {len(plan)} characters, and {_NAME_MAX} are allowed")
    return Saga(
        wire.saga_in(given),
        wire.text_in(given, "amendskey"),
        plan,
        _fitting(given, "amendsfingerprint", _FINGERPRINT),
        _fitting(given, "amendshome", _SERVICE),
    )


def _fitting(given: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = wire.text_in(given, name)
    if not pattern.fullmatch(value):
        raise MessageRefused(f"{name} is {value!r:.60}, which none can be")
    return value


def _check_kind(given: Mapping[str, str], kind: Kind) -> None:
    if given.get(KIND) != kind.value:
        raise MessageRefused(f"{KIND} is {given.get(KIND)!r:.40}: no {kind.value}")
