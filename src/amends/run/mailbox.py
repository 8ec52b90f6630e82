"""The mailbox: what comes from outside, as messages for the core.

Guarantees: a mail is told to its saga once per worker; what it says is checked here, so that
nonsense is refused with its reason and harms nothing.
Must not: answer. The answer is written with the decision that the mail causes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import StepNode
from amends.decide.wire import Reply, Word
from amends.define.program import Program
from amends.define.values import clean, describe
from amends.errors import LimitExceeded, ValueRefused
from amends.run.changed_arguments import admitted
from amends.run.sealing import looks_sealed
from amends.run.unsaid import in_state, unsaid
from amends.store.base import MailAnswer, MailRow, NewMail

if TYPE_CHECKING:
    from amends.run.attempt import Attempt
    from amends.run.live import Live


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mail's body.

    name: the wait that a signal is for. value: of a signal, or the result of a resolved step.
    verb, address: of an act. actor, reason: who and why; the reason of a note is its text. phase, outcome: of a late
    answer, and of a reply. arguments: what a step is retried with. settled: that nothing stayed of it. person: whom a
    saga is assigned to. version: the one that the sender looked at. The rest is of a reply alone.
    """

    name: str = ""
    value: msgspec.Raw = msgspec.Raw(b"")
    verb: str = ""
    address: str = ""
    actor: str = ""
    reason: str = ""
    phase: str = ""
    outcome: str = ""
    saga: str = ""
    round: int = 1
    attempt: int = 0
    after: float | None = None
    park: bool = False
    final: bool = False
    arguments: msgspec.Raw = msgspec.Raw(b"")
    settled: bool = False
    person: str = ""
    version: int | None = None


# Which half of a step an outcome can be of; the others can be of both.
_PHASES = {
    Word.SUCCEEDED: Phase.ACTION,
    Word.FENCED: Phase.ACTION,
    Word.EARLIER_OPEN: Phase.ACTION,
    Word.COMPENSATED: Phase.UNDO,
    Word.VOID: Phase.UNDO,
    Word.MISSING: Phase.UNDO,
}
LOOKS_SEALED = "it begins as what is sealed with a key does, and nobody could open it"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


def write(*, value: bytes | None = None, arguments: bytes | None = None, **fields: Any) -> bytes:
    """A mail's body. A text in it is made fit to be stored: a shell may pass bytes that are none."""
    fit: dict[str, Any] = {name: clean(one) if isinstance(one, str) else one for name, one in fields.items()}
    if arguments is not None:
        fit["arguments"] = msgspec.Raw(arguments)
    return _encode(Letter(**fit, value=msgspec.Raw(value or b"null")))


class Wish(NamedTuple):
    """What a person wants of a saga. verb: retry, skip, resolve, compensate, unpark, cancel, assign, note or signal.
    address: of a step, or the name of a signal. value: of a signal, or what a resolved step would have given.
    arguments: what a step is retried with; settled: that nothing stayed of it. person: whom it is assigned to.
    version: the one of the saga that they looked at; it is done to no other."""

    verb: str
    address: str = ""
    actor: str = ""
    reason: str = ""
    value: bytes | None = None
    arguments: bytes | None = None
    settled: bool = False
    person: str = ""
    version: int | None = None


def act_mail(key: str, message: str, wish: Wish) -> NewMail:
    """The mail of a wish. message: its id; the same one counts once."""
    verb, address, actor, reason, value, arguments, settled, person, version = wish
    seen: dict[str, Any] = {} if version is None else {"version": version}
    if verb == "signal":
        return NewMail(key, message, "signal", write(name=address, value=value, actor=actor, reason=reason, **seen))
    if verb == "cancel":
        return NewMail(key, message, "cancel", write(actor=actor, reason=reason, **seen))
    more: dict[str, Any] = {"verb": verb, "address": address, "settled": settled, "person": person, **seen}
    return NewMail(key, message, "act", write(value=value, arguments=arguments, actor=actor, reason=reason, **more))


def late(key: str, message: str, attempt: Attempt, ended: Message) -> NewMail:
    """How an attempt ended that nobody waited for any more."""
    outcome, value = str(getattr(ended, "reason", "")), None
    if isinstance(ended, m.Done):
        outcome, value = "succeeded", ended.result
    body = write(address=attempt.address, phase=str(attempt.phase), outcome=outcome, value=value)
    return NewMail(key, message, "late", body)


def reply_body(reply: Reply, limit: int) -> bytes:
    """The mail's body of a service's reply. What stands in a reply is somebody else's: what cannot be kept is left
    out, and its reason says so. limit: bytes of a payload."""
    _, saga, _, step, phase, word, _, data, reason, round_, attempt, after, park, final = reply
    flaw = flaw_of(data, limit) if word is Word.SUCCEEDED else ""
    value = msgspec.Raw(b"null" if flaw or word is not Word.SUCCEEDED else data)
    why = clean(flaw or reason)
    letter = Letter("", value, "", step, "", why, str(phase), str(word), saga.hex(), round_, attempt, after)
    return _encode(msgspec.structs.replace(letter, park=park, final=final))


def flaw_of(data: bytes, limit: int) -> str:
    """Why what stands in a reply is no JSON text that can be kept; empty if it is."""
    if len(data) > limit:
        return f"it has {len(data):,} bytes, and {limit:,} are allowed"
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError):  # UnicodeDecodeError, and all of msgspec's
        return "it is no JSON"
    return LOOKS_SEALED if looks_sealed(data) else ""


def read(mail: MailRow) -> Letter:
    """The letter in a mail; an empty one where the body is none."""
    return letter_of(mail.body)


def letter_of(body: bytes) -> Letter:
    """The letter that a body is; an empty one where it is none."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return Letter()


def message_of(mail: MailRow, live: Live, live_workers: frozenset[int]) -> Message:
    """What the core is told."""
    letter = read(mail)
    if mail.kind == "late":
        return _late_message(letter, live.program)
    value = bytes(letter.value) or b"null"
    verb, address = letter.verb, letter.address
    if mail.kind == "signal":
        verb, address = "signal", letter.name
    elif mail.kind == "cancel":
        verb = "cancel"
    result = None if value == b"null" and verb != "signal" else value
    arguments = bytes(letter.arguments) or None
    wish = Wish(verb, address, letter.actor, letter.reason, result, arguments, letter.settled, letter.person)
    looked = None if letter.version is None else m.Looked(letter.version, live.changed, live.seq)
    limit = live.shell.settings.payload_bytes
    return message_of_wish(mail.message, wish, live.program, limit, looked=looked, live=live_workers)


def _late_message(letter: Letter, program: Program) -> Message:
    if program.plan.node(letter.address) is None:
        raise ValueError(f"there is no step {clean(letter.address)!r}")
    if letter.outcome == "succeeded":
        return m.Done(letter.address, Phase(letter.phase), bytes(letter.value) or b"null")
    return m.Failure(letter.address, Phase(letter.phase), letter.outcome, final=True)


def message_of_wish(
    mail: str,
    wish: Wish,
    program: Program | None,
    limit: int,
    *,
    looked: m.Looked | None = None,
    live: frozenset[int] = frozenset(),
) -> m.Mail:
    """What the core is told of what a person wants. program: None where values cannot be checked. limit: bytes of a
    payload. live: the workers that are alive."""
    verb, address, actor, reason, value, arguments, settled, person, _ = wish
    match verb:
        case "signal":
            flaw = _flaw(None if program is None else program.signals.get(address), value or b"null")
            return m.Signal(mail, address, value or b"null", flaw, looked)
        case "cancel":
            return m.Cancel(mail, actor, reason, looked)
        case "assign":
            return m.Assign(mail, person, actor, reason, looked)
        case "note":
            return m.Note(mail, reason, actor, looked)
    flaw = "" if value is None else _flaw(None if program is None else _codec(program, address), value)
    if arguments is not None and program is not None and not flaw:
        arguments, flaw = admitted(program, address, arguments, limit)
    return m.Operate(mail, verb, address, actor, reason, value, live, flaw, arguments, settled, looked)


def understood(mail: MailRow, live: Live, live_workers: frozenset[int]) -> tuple[Message, tuple[MailAnswer, ...]]:
    """What the core is told, and the answer where the core gives none. A mail that makes no
    sense is refused and moves nothing, and so does a late answer to what runs again: the
    attempt that runs will say more."""
    if mail.kind == "reply":
        return _replied(mail, live)
    try:
        message = message_of(mail, live, live_workers)
    except (ValueError, LookupError) as error:
        return m.Tick(), (MailAnswer(mail.message, "refused", f"the {clean(mail.kind)} makes no sense: {error}"),)
    if mail.kind != "late":
        return message, ()
    heard = isinstance(message, (m.Done, m.Failure)) and (message.address, message.phase) not in live.running
    return message if heard else m.Tick(), (MailAnswer(mail.message, "accepted", ""),)


def _replied(mail: MailRow, live: Live) -> tuple[Message, tuple[MailAnswer, ...]]:
    letter = read(mail)
    try:
        reply = Reply(
            "",
            bytes.fromhex(letter.saga),
            live.key,
            letter.address,
            Phase(letter.phase),
            Word(letter.outcome),
            "",
            bytes(letter.value) or b"null",
            letter.reason,
            letter.round,
            letter.attempt,
            letter.after,
            letter.park,
            letter.final,
        )
    except ValueError:
        return m.Tick(), (MailAnswer(mail.message, "refused", "the reply makes no sense"),)
    message = None
    if reply.saga == live.id:
        message = told_by(reply, live)
    if message is None:
        return m.Tick(), (MailAnswer(mail.message, "refused", "the reply does not fit the saga as it stands"),)
    return message, (MailAnswer(mail.message, "accepted", ""),)


def told_by(reply: Reply, live: Live) -> Message | None:
    """What the core is told of a reply; None of one that does not fit: of another round than the step's, of a step
    that no service does, an outcome that its half of a step cannot have. The reason of one that succeeded is why
    its result was not kept."""
    _, _, _, step, phase, word, _, data, said, round_, attempt, after, park, final = reply
    reason = unsaid(said, in_state(live.program.plan, live.state)) if said else ""
    node = live.program.plan.node(step)
    if not isinstance(node, StepNode) or not node.remote or phase is not _PHASES.get(word, phase):
        return None
    if round_ != live.known(step).round:
        return None
    match word:
        case Word.SUCCEEDED:
            return _unusable(step, reason) if reason else _done(step, data, live)
        case Word.COMPENSATED | Word.VOID:
            return m.Done(step, phase, void=word is Word.VOID)
        case Word.REJECTED:
            return m.No(step, phase, reason or "rejected", sure=True)
        case Word.FAILED:
            why = reason or "it failed"
            return m.Failure(step, phase, why, True, final, park, after, live.shell.share(), attempt)
    return m.Barred(step, phase, word, reason)


def _done(step: str, data: bytes, live: Live) -> Message:
    """The service did it. What it gave must be what was agreed upon; if it is not, its effect stays and its result
    is unknown."""
    codec, limit = live.program.step(step).result, live.shell.settings.payload_bytes
    try:
        return m.Done(step, Phase.ACTION, codec.admit(codec.decode(data), f"the reply of {step}", limit)[0])
    except (ValueRefused, LimitExceeded) as error:
        why = describe(error).replace(f"a stored {codec.name} cannot be read", f"it does not fit {codec.name}")
        return _unusable(step, why)


def _unusable(step: str, why: str) -> Message:
    return m.Failure(step, Phase.ACTION, f"the service did it, and its reply cannot be used: {why}", final=True)


def _codec(program: Program, address: str) -> Any:
    node = program.plan.node(address)
    if node is None:
        return None
    if address.endswith("]"):
        return program.step(address).result
    return program.codecs.get(address)


def _flaw(codec: Any, value: bytes) -> str:
    """Why a value is not what is asked for; empty where it is, or where the core will say."""
    if looks_sealed(value):
        return LOOKS_SEALED
    if codec is None:
        return ""
    try:
        codec.decode(value)
    except ValueRefused as error:
        return describe(error).replace(f"a stored {codec.name} cannot be read", f"it does not fit {codec.name}")
    return ""
