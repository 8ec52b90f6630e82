"""What commands, replies and notices say, as the attributes and the data of messages.

`docs/protocol.md` is this page for people who write participants in other languages.

Guarantees: what is read back is what was written; a message that lacks something, or has something that
cannot be, is refused with its name.
Must not: check who sent it; tokens do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from amends.decide.events import Phase
from amends.errors import MessageRefused
from amends.message import Message

KIND = "amendskind"
_NUMBER = re.compile(r"[0-9]{1,18}")
_DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_ADDRESS = re.compile(r"[A-Za-z_][A-Za-z0-9_./\[\]-]{0,999}")
REASON_CHARACTERS = 2000
SAGAS_PER_NOTICE = 1000


class Kind(StrEnum):
    """Of a message: what the attribute `amendskind` says."""

    ACTION = "action"
    UNDO = "undo"
    REPLY = "reply"
    ENDED = "ended"
    EVENT = "event"


class Word(StrEnum):
    """Of a reply: how the command ended."""

    SUCCEEDED = "succeeded"  # an action; the data is its result
    REJECTED = "rejected"  # an action: a definite no
    FAILED = "failed"  # nothing stayed; asked again it may work
    COMPENSATED = "compensated"  # an undo
    VOID = "void"  # an undo that found nothing to undo
    MISSING = "missing"  # an undo: what should be there is not
    FENCED = "fenced"  # an action that came too late
    EARLIER_OPEN = "earlier-open"  # an action: an earlier round has its effect still
    EXPIRED = "expired"  # the command is too old


class Command(NamedTuple):
    """A request to one service: to do a step's part, or to undo it.

    type: the contract's name. saga: the internal id. key: the user's id. known: of an undo, whether the sender
    knows that the action `succeeded`. closed: rounds up to it were closed by a person. sent_at: an
    instant. reply_to: the name of the queue of replies. token: what the reply has to echo. data: the encoded
    command, in an undo too.
    """

    type: str
    namespace: str
    saga: bytes
    key: str
    step: str
    phase: Phase
    data: bytes
    token: str
    reply_to: str
    sent_at: float
    round: int = 1
    attempt: int = 1
    closed: int = 0
    known: bool = False
    trace: Mapping[str, str] = {}


class Reply(NamedTuple):
    """An answer to a command, addressed to the saga's step.

    data: the result, of an action that succeeded; else `null`. reason: in words, of any other. after: seconds
    until the command should be sent again, if the participant said so. park: a person is needed. final:
    another attempt would give the same.
    """

    namespace: str
    saga: bytes
    key: str
    step: str
    phase: Phase
    word: Word
    token: str
    data: bytes = b"null"
    reason: str = ""
    round: int = 1
    attempt: int = 0
    after: float | None = None
    park: bool = False
    final: bool = False


class Ended(NamedTuple):
    """These sagas have ended: what a service keeps of them may be forgotten after the horizon."""

    namespace: str
    sagas: tuple[bytes, ...]


def command_message(command: Command, id_: str, source: str) -> Message:
    """The message of a command. id_: new for every send. source: who sends it."""
    attributes = {
        KIND: Kind.ACTION.value if command.phase is Phase.ACTION else Kind.UNDO.value,
        "amendsnamespace": command.namespace,
        "amendssaga": command.saga.hex(),
        "amendskey": command.key,
        "amendsstep": command.step,
        "amendsround": str(command.round),
        "amendsattempt": str(command.attempt),
        "amendsreplyto": command.reply_to,
        "amendstoken": command.token,
    }
    if command.closed:
        attributes["amendsclosed"] = str(command.closed)
    if command.phase is Phase.UNDO:
        attributes["amendsknown"] = "succeeded" if command.known else "unknown"
    attributes.update(command.trace)
    key = attributes["amendssaga"]
    return Message(id_, command.type, source, command.data, command.sent_at, command.key, key, attributes)


def command_of(message: Message) -> Command:
    """The command that a message is. Raises MessageRefused."""
    given = message.attributes
    kind = given.get(KIND)
    if kind not in (Kind.ACTION, Kind.UNDO):
        raise MessageRefused(f"{KIND} is {kind!r:.40}: no command")
    known = given.get("amendsknown", "unknown")
    if known not in ("succeeded", "unknown"):
        raise MessageRefused(f"amendsknown is {known!r:.40}; succeeded or unknown is expected")
    if message.time <= 0:
        raise MessageRefused("it lacks the attribute time, when it was sent")
    return Command(
        message.type,
        _text(given, "amendsnamespace"),
        _saga(given),
        _text(given, "amendskey"),
        _fitting(given, "amendsstep", _ADDRESS),
        Phase.ACTION if kind == Kind.ACTION else Phase.UNDO,
        message.data,
        _text(given, "amendstoken"),
        _fitting(given, "amendsreplyto", _DESTINATION),
        message.time,
        _number(given, "amendsround", 1),
        _number(given, "amendsattempt", 1),
        _number(given, "amendsclosed", 0),
        known == "succeeded",
        {name: given[name] for name in ("traceparent", "tracestate") if name in given},
    )


def reply_message(reply: Reply, type_: str, id_: str, source: str, at: float, trace: Mapping[str, str]) -> Message:
    """The message of a reply. type_: the contract's name, as in the command."""
    attributes = {
        KIND: Kind.REPLY.value,
        "amendsnamespace": reply.namespace,
        "amendssaga": reply.saga.hex(),
        "amendskey": reply.key,
        "amendsstep": reply.step,
        "amendsround": str(reply.round),
        "amendsattempt": str(reply.attempt),
        "amendsphase": reply.phase.value,
        "amendsoutcome": reply.word.value,
        "amendstoken": reply.token,
        **trace,
    }
    if reply.after is not None:
        attributes["amendsafter"] = f"{reply.after:.3f}"
    if reply.park:
        attributes["amendspark"] = "true"
    if reply.final:
        attributes["amendsfinal"] = "true"
    data = reply.data if reply.word is Word.SUCCEEDED else _reason_data(reply.reason)
    return Message(id_, type_, source, data, at, reply.key, attributes["amendssaga"], attributes)


def reply_of(message: Message) -> Reply:
    """The reply that a message is. Raises MessageRefused."""
    given = message.attributes
    if given.get(KIND) != Kind.REPLY:
        raise MessageRefused(f"{KIND} is {given.get(KIND)!r:.40}: no reply")
    word, phase = given.get("amendsoutcome", ""), given.get("amendsphase", "")
    if word not in Word._value2member_map_ or phase not in Phase._value2member_map_:
        raise MessageRefused(f"amendsoutcome is {word!r:.40} and amendsphase {phase!r:.40}: no such outcome")
    succeeded = word == Word.SUCCEEDED
    return Reply(
        _text(given, "amendsnamespace"),
        _saga(given),
        _text(given, "amendskey"),
        _fitting(given, "amendsstep", _ADDRESS),
        Phase(phase),
        Word(word),
        _text(given, "amendstoken"),
        (message.data or b"null") if succeeded else b"null",
        "" if succeeded else _reason_of(message.data),
        _number(given, "amendsround", 1),
        _number(given, "amendsattempt", 0),
        _seconds(given, "amendsafter"),
        given.get("amendspark") == "true",
        given.get("amendsfinal") == "true",
    )


def ended_message(ended: Ended, id_: str, source: str, at: float) -> Message:
    """The message that sagas have ended; at most `SAGAS_PER_NOTICE` of them."""
    data = json.dumps({"sagas": [saga.hex() for saga in ended.sagas]}, separators=(",", ":")).encode()
    attributes = {KIND: Kind.ENDED.value, "amendsnamespace": ended.namespace}
    return Message(id_, "amends.ended", source, data, at, attributes=attributes)


def ended_of(message: Message) -> Ended:
    """The notice that a message is. Raises MessageRefused."""
    try:
        sagas: Sequence[object] = json.loads(message.data)["sagas"]
        ids = tuple(bytes.fromhex(str(saga)) for saga in sagas[: SAGAS_PER_NOTICE + 1])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise MessageRefused("its data is no list of sagas") from None
    if len(ids) > SAGAS_PER_NOTICE or any(len(saga) != 16 for saga in ids):
        raise MessageRefused("its data names too many sagas, or something that is no saga's id")
    return Ended(_text(message.attributes, "amendsnamespace"), ids)


def _reason_data(reason: str) -> bytes:
    return json.dumps({"reason": reason[:REASON_CHARACTERS]}).encode()


def _reason_of(data: bytes) -> str:
    """The words of a participant, which may be written in any language and by anyone."""
    try:
        given = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return ""
    reason = given.get("reason", "") if isinstance(given, dict) else ""
    return reason[:REASON_CHARACTERS] if isinstance(reason, str) else ""


def _text(given: Mapping[str, str], name: str) -> str:
    value = given.get(name)
    if not value:
        raise MessageRefused(f"it lacks the attribute {name}")
    return value


def _fitting(given: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(given, name)
    if not pattern.fullmatch(value):
        raise MessageRefused(f"{name} is {value!r:.60}, which none can be")
    return value


def _saga(given: Mapping[str, str]) -> bytes:
    value = _text(given, "amendssaga")
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise MessageRefused(f"amendssaga is {value!r:.60}; 32 hexadecimal digits are expected")
    return bytes.fromhex(value)


def _number(given: Mapping[str, str], name: str, least: int) -> int:
    value = given.get(name, str(least))
    if not _NUMBER.fullmatch(value) or int(value) < least:
        raise MessageRefused(f"{name} is {value!r:.60}; a number from {least} on is expected")
    return int(value)


def _seconds(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        raise MessageRefused(f"{name} is {value!r:.60}; seconds are expected")
    return float(value)
