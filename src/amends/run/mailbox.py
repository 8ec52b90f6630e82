"""The mailbox: what comes from outside, as messages for the core.

Guarantees: a mail is told to its saga once per worker; what it says is checked here, so that
nonsense is refused with its reason and harms nothing.
Must not: answer. The answer is written with the decision that the mail causes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.define.program import Program
from amends.define.values import clean, describe
from amends.errors import ValueRefused
from amends.store.base import MailAnswer, MailRow, NewMail

if TYPE_CHECKING:
    from amends.run.attempt import Attempt


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mail's body.

    name: the wait that a signal is for. value: of a signal, or the result of a resolved step.
    verb, address: of an act. actor, reason: who and why. phase, outcome: of a late answer.
    """

    name: str = ""
    value: msgspec.Raw = msgspec.Raw(b"")
    verb: str = ""
    address: str = ""
    actor: str = ""
    reason: str = ""
    phase: str = ""
    outcome: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


def write(**fields: Any) -> bytes:
    """A mail's body. A text in it is made fit to be stored: a shell may pass bytes that are none."""
    value = msgspec.Raw(fields.pop("value", None) or b"null")
    return _encode(Letter(**{name: clean(text) for name, text in fields.items()}, value=value))


def late(key: str, message: str, attempt: Attempt, ended: Message) -> NewMail:
    """How an attempt ended that nobody waited for any more."""
    outcome, value = str(getattr(ended, "reason", "")), None
    if isinstance(ended, m.Done):
        outcome, value = "succeeded", ended.result
    body = write(address=attempt.address, phase=str(attempt.phase), outcome=outcome, value=value)
    return NewMail(key, message, "late", body)


def read(mail: MailRow) -> Letter:
    """The letter in a mail; an empty one where the body is none."""
    try:
        return _decode(mail.body)
    except msgspec.MsgspecError:
        return Letter()


def message_of(mail: MailRow, program: Program, live_workers: frozenset[int]) -> Message:
    """What the core is told."""
    letter = read(mail)
    value = bytes(letter.value) or b"null"
    match mail.kind:
        case "signal":
            return m.Signal(mail.message, letter.name, value, _flaw(program.signals.get(letter.name), value))
        case "cancel":
            return m.Cancel(mail.message, letter.actor, letter.reason)
        case "late" if program.plan.node(letter.address) is None:
            raise ValueError(f"there is no step {clean(letter.address)!r}")
        case "late" if letter.outcome == "succeeded":
            return m.Done(letter.address, Phase(letter.phase), value)
        case "late":
            return m.Failure(letter.address, Phase(letter.phase), letter.outcome, final=True)
    result = None if value == b"null" else value
    flaw = "" if result is None else _flaw(_codec(program, letter.address), result)
    return m.Operate(mail.message, letter.verb, letter.address, letter.actor, letter.reason, result, live_workers, flaw)


def understood(
    mail: MailRow, program: Program, live_workers: frozenset[int], running: Collection[tuple[str, Phase]]
) -> tuple[Message, tuple[MailAnswer, ...]]:
    """What the core is told, and the answer where the core gives none. A mail that makes no
    sense is refused and moves nothing, and so does a late answer to what runs again: the
    attempt that runs will say more. `running`: what is in flight here."""
    try:
        message = message_of(mail, program, live_workers)
    except (ValueError, LookupError) as error:
        return m.Tick(), (MailAnswer(mail.message, "refused", f"the {clean(mail.kind)} makes no sense: {error}"),)
    if mail.kind != "late":
        return message, ()
    heard = isinstance(message, (m.Done, m.Failure)) and (message.address, message.phase) not in running
    return message if heard else m.Tick(), (MailAnswer(mail.message, "accepted", ""),)


def _codec(program: Program, address: str) -> Any:
    node = program.plan.node(address)
    if node is None:
        return None
    if address.endswith("]"):
        return program.step(address).result
    return program.codecs.get(address)


def _flaw(codec: Any, value: bytes) -> str:
    """Why a value is not what is asked for; empty where it is, or where the core will say."""
    if codec is None:
        return ""
    try:
        codec.decode(value)
    except ValueRefused as error:
        return describe(error).replace(f"a stored {codec.name} cannot be read", f"it does not fit {codec.name}")
    return ""
