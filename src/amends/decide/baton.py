"""The baton: a choreographed saga on its way, and what its services and its home tell each other beside it.

A baton is a saga's history, in the rows of a journal, and the half of a step that is next. Whoever holds it
decides as an orchestrator would.

Guarantees: what is read back is what was written; a message that lacks something, or has something that cannot
be, is refused with its name.
Must not: read a row of the history.
"""

from __future__ import annotations

import json
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
_MARK = re.compile(r"[0-9a-f]{32}")
_VERSION = re.compile(r"[0-9]{1,9}")
_VERB = re.compile(r"[a-z]{1,20}")
_ANSWERS = ("accepted", "refused", "too late", "changed")
_NAME_MAX = 200
LENGTH_MAX = 999_999  # rows of a history


class Kind(StrEnum):
    """Of a message: what the attribute `amendskind` says, beside those of `wire.py`."""

    BATON = "baton"
    WORD = "word"  # from who holds the baton to the home: how the saga stands
    MARK = "mark"  # from the home to all its services: what somebody wants of whoever holds the baton
    ANSWER = "answer"  # from the holder to the home: what became of a mark
    PROGRESS = "progress"  # from every hop to whoever watches: what has happened so far


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
    instant of the sender. marks: those that a holder has met already."""

    saga: Saga
    type: str
    step: str
    phase: Phase
    round: int
    history: bytes
    sent_at: float
    marks: tuple[str, ...] = ()
    trace: Mapping[str, str] = wire.NO_TRACE


class Mark(NamedTuple):
    """What somebody wants of a saga, whoever holds it. verb: `cancel`, `assign` to the person at `address`, `note`, or
    an operator's act on `address`. result: of one that is resolved, or what one is retried with, encoded. version: the
    one of the saga that they looked at; it is done to no other. settled: that nothing stayed of what was tried."""

    saga: Saga
    id: str
    verb: str
    address: str
    actor: str
    reason: str
    result: bytes | None = None
    version: int | None = None
    settled: bool = False


class Answered(NamedTuple):
    """What the holder says to a mark. word: `accepted`, `refused` or `too late`. service: who says it. length: of the
    history, with what has come of it."""

    saga: Saga
    mark: str
    word: str
    detail: str
    service: str
    length: int


class Told(NamedTuple):
    """A word to the home. service: who says it. history: all rows. marks: those that were met."""

    saga: Saga
    stand: Stand
    service: str
    history: bytes
    marks: tuple[str, ...] = ()


class Progress(NamedTuple):
    """What has happened to a saga so far, for whoever watches. service: who says it. history: all rows."""

    saga: Saga
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
        **_met(baton.marks),
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
        _marks(given),
        wire.trace_in(given),
    )


def mark_message(mark: Mark, id_: str, source: str, at: float) -> Message:
    """The message of a mark."""
    said = {"address": mark.address, "actor": mark.actor, "reason": mark.reason}
    if mark.result is not None:
        said["result"] = mark.result.decode()
    if mark.version is not None:
        said["version"] = str(mark.version)
    if mark.settled:
        said["settled"] = "yes"
    attributes = {
        KIND: Kind.MARK.value,
        **_attributes(mark.saga),
        "amendsmark": mark.id,
        "amendsverb": mark.verb,
    }
    data = json.dumps(said).encode()
    return Message(id_, "amends.mark", source, data, at, mark.saga.key, mark.saga.id.hex(), attributes)


def mark_of(message: Message) -> Mark:
    """The mark that a message is. Raises MessageRefused."""
    given = message.attributes
    _check_kind(given, Kind.MARK)
    verb = _fitting(given, "amendsverb", _VERB)
    said = _said(message)
    result, version = said.get("result"), said.get("version")
    if version is not None and not _VERSION.fullmatch(version):
        raise MessageRefused(f"its version is {version!r:.40}; a number is expected")
    return Mark(
        _saga_of(given),
        _fitting(given, "amendsmark", _MARK),
        verb,
        said.get("address", ""),
        said.get("actor", ""),
        said.get("reason", ""),
        None if result is None else result.encode(),
        None if version is None else int(version),
        said.get("settled") == "yes",
    )


def answer_message(answered: Answered, id_: str, source: str, at: float) -> Message:
    """The message of an answer."""
    attributes = {
        KIND: Kind.ANSWER.value,
        **_attributes(answered.saga),
        "amendsmark": answered.mark,
        "amendsanswer": answered.word,
        "amendsservice": answered.service,
        "amendslength": str(answered.length),
    }
    data = json.dumps({"detail": answered.detail}).encode()
    saga = answered.saga
    return Message(id_, "amends.answer", source, data, at, saga.key, saga.id.hex(), attributes)


def answer_of(message: Message) -> Answered:
    """The answer that a message is. Raises MessageRefused."""
    given = message.attributes
    _check_kind(given, Kind.ANSWER)
    word = wire.text_in(given, "amendsanswer")
    if word not in _ANSWERS:
        raise MessageRefused(f"amendsanswer is {word!r:.40}: {' or '.join(_ANSWERS)} is expected")
    mark, service = _fitting(given, "amendsmark", _MARK), _fitting(given, "amendsservice", _SERVICE)
    length = wire.number_in(given, "amendslength", 1, LENGTH_MAX)
    return Answered(_saga_of(given), mark, word, _said(message).get("detail", ""), service, length)


def _said(message: Message) -> dict[str, str]:
    try:
        said = json.loads(message.data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise MessageRefused("its data is no object of texts")
    if any(map(wire.UNFIT.search, said.values())):
        raise MessageRefused("its data has a NUL, or half a character, which no database keeps")
    return said


def _met(marks: tuple[str, ...]) -> dict[str, str]:
    return {"amendsmarks": ",".join(marks)} if marks else {}


def _marks(given: Mapping[str, str]) -> tuple[str, ...]:
    """Those that were met; a saga has few."""
    marks = tuple(filter(None, given.get("amendsmarks", "").split(",")))
    if not all(map(_MARK.fullmatch, marks)):
        raise MessageRefused(f"amendsmarks is {given['amendsmarks']!r:.60}, which none can be")
    return marks


def word_message(told: Told, id_: str, source: str, at: float) -> Message:
    """The message of a word to the home."""
    attributes = {
        KIND: Kind.WORD.value,
        **_attributes(told.saga),
        "amendsstand": told.stand.value,
        "amendsservice": told.service,
        **_met(told.marks),
    }
    return Message(id_, "amends.word", source, told.history, at, told.saga.key, told.saga.id.hex(), attributes)


def word_of(message: Message) -> Told:
    """The word that a message is. Raises MessageRefused."""
    given = message.attributes
    _check_kind(given, Kind.WORD)
    stand = given.get("amendsstand", "")
    if stand not in _STANDS:
        raise MessageRefused(f"amendsstand is {stand!r:.40}: {' or '.join(_STANDS)} is expected")
    service = _fitting(given, "amendsservice", _SERVICE)
    return Told(_saga_of(given), _STANDS[stand], service, message.data, _marks(given))


def progress_message(progress: Progress, id_: str, source: str, at: float) -> Message:
    """The message of a progress."""
    saga = progress.saga
    attributes = {KIND: Kind.PROGRESS.value, **_attributes(saga), "amendsservice": progress.service}
    return Message(id_, "amends.progress", source, progress.history, at, saga.key, saga.id.hex(), attributes)


def progress_beside(message: Message, service: str) -> Message | None:
    """What whoever watches is told when this message goes out: of a baton, and of a word to the home, the history in
    it. service: whose message it is."""
    given = message.attributes
    if given.get(KIND) not in (Kind.BATON.value, Kind.WORD.value):
        return None
    progress = Progress(_saga_of(given), service, message.data)
    return progress_message(progress, f"{message.id}.{Kind.PROGRESS}", message.source, message.time)


def progress_of(message: Message) -> Progress:
    """The progress that a message is. Raises MessageRefused."""
    given = message.attributes
    _check_kind(given, Kind.PROGRESS)
    return Progress(_saga_of(given), _fitting(given, "amendsservice", _SERVICE), message.data)


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
