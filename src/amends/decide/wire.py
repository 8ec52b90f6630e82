"""What commands, replies and notices say, as the attributes and the data of messages.

`docs/protocol.md` is this page for people who write participants in other languages.

Guarantees: what is read back is what was written; a message that lacks something, or has something that
cannot be, is refused with its name.
Must not: check who sent it; tokens do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from amends.decide.events import Phase
from amends.errors import MessageRefused
from amends.message import Message

KIND = "amendskind"
REASON_CHARACTERS = 2000
SAGAS_PER_NOTICE = 1000
ROUNDS_MAX = 10_000  # a barrier buries each round below a command's own: nobody may make it bury a billion
ATTEMPTS_MAX = 999_999_999
AFTER_SECONDS_MAX = 99_999_999.0
_SAGA = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_SECONDS = re.compile(r"[0-9]{1,8}(\.[0-9]{1,9})?")
_REPLIES = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.replies")  # a reply goes to no other kind of queue
_REPLIES_MAX = 220  # as names at a broker
_ADDRESS = re.compile(r"[A-Za-z_][A-Za-z0-9_./\[\]-]*")
_ADDRESS_MAX = 4000  # the deepest nesting of the longest names has 2,200
UNFIT = re.compile(r"[\x00\ud800-\udfff]")  # that no database keeps


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


_PHASES = {"action": Phase.ACTION, "undo": Phase.UNDO}  # a command's kind, and a reply's phase
_EITHER = {"failed": Word.FAILED, "expired": Word.EXPIRED}
_WORDS: Mapping[Phase, Mapping[str, Word]] = {  # what may become of which
    Phase.ACTION: {
        "succeeded": Word.SUCCEEDED,
        "rejected": Word.REJECTED,
        "fenced": Word.FENCED,
        "earlier-open": Word.EARLIER_OPEN,
        **_EITHER,
    },
    Phase.UNDO: {"compensated": Word.COMPENSATED, "void": Word.VOID, "missing": Word.MISSING, **_EITHER},
}
_KNOWN = {"succeeded": True, "unknown": False}
_YES_OR_NO = {"true": True, "false": False}
_TRACE = ("traceparent", "tracestate")
NO_TRACE: Mapping[str, str] = {}


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
    trace: Mapping[str, str] = NO_TRACE


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
    phase = _PHASES.get(given.get(KIND, ""))
    if phase is None:
        raise MessageRefused(f"{KIND} is {given.get(KIND)!r:.40}: no command")
    if message.time <= 0:
        raise MessageRefused("it lacks the attribute time, when it was sent")
    return Command(
        message.type,
        text_in(given, "amendsnamespace"),
        saga_in(given),
        text_in(given, "amendskey"),
        address_in(given, "amendsstep"),
        phase,
        message.data,
        text_in(given, "amendstoken"),
        _fitting(given, "amendsreplyto", _REPLIES, _REPLIES_MAX),
        message.time,
        number_in(given, "amendsround", 1, ROUNDS_MAX),
        number_in(given, "amendsattempt", 1, ATTEMPTS_MAX),
        number_in(given, "amendsclosed", 0, ROUNDS_MAX),
        _choice(given, "amendsknown", _KNOWN),
        trace_in(given),
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
        attributes["amendsafter"] = f"{min(max(reply.after, 0.0), AFTER_SECONDS_MAX):.3f}"
    if reply.park:
        attributes["amendspark"] = "true"
    if reply.final:
        attributes["amendsfinal"] = "true"
    data = reply.data if reply.word is Word.SUCCEEDED else _reason_data(reply.reason)
    return Message(id_, type_, source, data, at, reply.key, attributes["amendssaga"], attributes)


def reply_of(message: Message) -> Reply:
    """The reply that a message is. Raises MessageRefused."""
    given = message.attributes
    if given.get(KIND) != "reply":
        raise MessageRefused(f"{KIND} is {given.get(KIND)!r:.40}: no reply")
    phase = _PHASES.get(given.get("amendsphase", ""))
    word = None if phase is None else _WORDS[phase].get(given.get("amendsoutcome", ""))
    if phase is None or word is None:
        told = f"amendsphase is {given.get('amendsphase')!r:.40} and amendsoutcome {given.get('amendsoutcome')!r:.40}"
        raise MessageRefused(f"{told}: no such outcome")
    succeeded = word is Word.SUCCEEDED
    return Reply(
        text_in(given, "amendsnamespace"),
        saga_in(given),
        text_in(given, "amendskey"),
        address_in(given, "amendsstep"),
        phase,
        word,
        text_in(given, "amendstoken"),
        (message.data or b"null") if succeeded else b"null",
        "" if succeeded else _reason_of(message.data),
        number_in(given, "amendsround", 1, ROUNDS_MAX),
        number_in(given, "amendsattempt", 0, ATTEMPTS_MAX),
        _seconds(given, "amendsafter"),
        _choice(given, "amendspark", _YES_OR_NO),
        _choice(given, "amendsfinal", _YES_OR_NO),
    )


def ended_message(ended: Ended, id_: str, source: str, at: float) -> Message:
    """The message that sagas have ended; at most `SAGAS_PER_NOTICE` of them."""
    data = json.dumps({"sagas": [saga.hex() for saga in ended.sagas]}, separators=(",", ":")).encode()
    attributes = {KIND: Kind.ENDED.value, "amendsnamespace": ended.namespace}
    return Message(id_, "amends.ended", source, data, at, attributes=attributes)


def ended_of(message: Message) -> Ended:
    """The notice that a message is. Raises MessageRefused."""
    kind = message.attributes.get(KIND)
    if kind != "ended":
        raise MessageRefused(f"{KIND} is {kind!r:.40}: no notice that sagas have ended")
    try:
        sagas = json.loads(message.data)["sagas"]
    except (ValueError, LookupError, TypeError, RecursionError):
        sagas = None
    if not isinstance(sagas, list):
        raise MessageRefused("its data is no list of sagas")
    if len(sagas) > SAGAS_PER_NOTICE or not all(isinstance(saga, str) and _SAGA.fullmatch(saga) for saga in sagas):
        raise MessageRefused("its data names too many sagas, or something that is no saga's id")
    return Ended(text_in(message.attributes, "amendsnamespace"), tuple(bytes.fromhex(saga) for saga in sagas))


def _reason_data(reason: str) -> bytes:
    return json.dumps({"reason": reason[:REASON_CHARACTERS]}).encode()


def _reason_of(data: bytes) -> str:
    """The words of a participant, which may be written in any language and by anyone."""
    try:
        given = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return ""
    reason = given.get("reason", "") if isinstance(given, dict) else ""
    return UNFIT.sub("\N{REPLACEMENT CHARACTER}", reason[:REASON_CHARACTERS]) if isinstance(reason, str) else ""


# What a message's attributes say, also in `baton.py`. All raise MessageRefused.


def text_in(given: Mapping[str, str], name: str) -> str:
    """A text that is not empty."""
    value = given.get(name)
    if not value:
        raise MessageRefused(f"it lacks the attribute {name}")
    return value


def address_in(given: Mapping[str, str], name: str) -> str:
    """The address of a step."""
    return _fitting(given, name, _ADDRESS, _ADDRESS_MAX)


def phase_in(given: Mapping[str, str], name: str) -> Phase:
    """A half of a step."""
    phase = _PHASES.get(text_in(given, name))
    if phase is None:
        raise MessageRefused(f"{name} is {given[name]!r:.40}: action or undo is expected")
    return phase


def trace_in(given: Mapping[str, str]) -> Mapping[str, str]:
    """The W3C trace context, if there is one."""
    return {name: given[name] for name in _TRACE if name in given}


def _fitting(given: Mapping[str, str], name: str, pattern: re.Pattern[str], longest: int) -> str:
    value = text_in(given, name)
    if len(value) > longest or not pattern.fullmatch(value):
        raise MessageRefused(f"{name} is {value!r:.60}, which none can be")
    return value


def saga_in(given: Mapping[str, str]) -> bytes:
    """The saga's internal id."""
    value = text_in(given, "amendssaga")
    if not _SAGA.fullmatch(value):
        raise MessageRefused(f"amendssaga is {value!r:.60}; 32 hexadecimal digits are expected")
    return bytes.fromhex(value)


def number_in(given: Mapping[str, str], name: str, least: int, most: int) -> int:
    """A number within bounds; the least one where there is none."""
    value = given.get(name)
    if value is None:
        return least
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise MessageRefused(f"{name} is {value!r:.60}; a number from {least} to {most} is expected")
    return int(value)


def _choice(given: Mapping[str, str], name: str, choices: Mapping[str, bool]) -> bool:
    """One of two words; without any it is no."""
    value = given.get(name)
    if value is None:
        return False
    if value not in choices:
        raise MessageRefused(f"{name} is {value!r:.60}; {' or '.join(choices)} is expected")
    return choices[value]


def _seconds(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if not _SECONDS.fullmatch(value):
        raise MessageRefused(f"{name} is {value!r:.60}; seconds are expected, with at most 8 digits before the point")
    return float(value)
