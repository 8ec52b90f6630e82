"""The inbox: one command on its way through a service, from the message to the reply.

Guarantees: the handler's effect, the inbox row with the command and the outcome commit together; the reply says
what the row says. Where the handler or its transaction failed, nothing stayed, and the reply says so.
Must not: receive, send or ack; `participant_work.py` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from amends.decide import messages as m
from amends.decide.barrier import Arrival, Entry, Kept, Ruling, Verdict, answer, arrives, expired
from amends.decide.chain import Chain
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.wire import Command, Reply, Word
from amends.define.bind import Call, Kind
from amends.define.context import Context
from amends.define.handlers import Handled, Handler
from amends.define.policy import Retry
from amends.define.values import Codec, clean
from amends.errors import StoreError, StoreUnavailable, ValueRefused
from amends.run.attempt import Runner
from amends.run.barrier import Try, as_entry, entry_of, opened, row_of, sealed
from amends.run.sealing import Seals
from amends.run.timers import Deadlines
from amends.run.tried import Tried
from amends.run.unsaid import Known, in_payloads
from amends.store.effects_rows import InboxRow

LOCK_SECONDS = 1.0  # a row that another process has is waited for in pauses, so that its connection serves others
BARRED = {
    Verdict.EXPIRED: "the command is older than what this service remembers",
    Verdict.FENCED: "its compensation, or a later round, came first",
    Verdict.EARLIER_OPEN: "an earlier round of this step has its effect still",
    Verdict.MISSING: "the effect that is to be undone is not there",
}
_log = logging.getLogger("amends.inbox")


class Desk(Runner, Protocol):
    """What a command needs from the participant it came to."""

    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    resources: dict[Any, Any]
    payload_bytes: int
    horizon_seconds: float
    default_kind: str
    default_awaited: bool
    seals: Seals | None  # where what is kept is sealed


class Subject(NamedTuple):
    """What a context says of a command or an event."""

    namespace: str
    key: str
    id: bytes
    address: str
    attempt: int = 1
    round: int = 1
    chain: Chain | None = None


class Handling(Tried):
    """A handler at work. values: what it is given by position."""

    __slots__ = ("_context", "_desk", "_subject", "codec", "handler", "known", "values")

    def __init__(self, desk: Desk, handler: Handler, phase: Phase, subject: Subject, codec: Codec[Any] | None) -> None:
        self.address: str = subject.address
        self.phase: Phase = phase
        self.call: Call = handler.call
        self.timeout: float = handler.timeout
        self.deadline: float = 0.0
        self.cancelled: bool = False
        self.stopping: bool = False
        self.task: asyncio.Task[Any] | None = None
        self.interrupt: Callable[[], None] | None = None
        self.handler: Handler = handler
        self.codec: Codec[Any] | None = codec
        self.values: tuple[Any, ...] = ()
        self.known: tuple[Known, ...] = ()  # payloads that it was given
        self._desk = desk
        self._subject = subject
        self._context: Context | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The participant's."""
        return self._desk.loop

    @property
    def deadlines(self) -> Deadlines:
        """The participant's."""
        return self._desk.deadlines

    @property
    def retry(self) -> Retry:
        """Of commands their sender decides; of events, whoever handles them."""
        return self.handler.retry

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        """The exceptions that mean no."""
        return self.handler.rejects

    @property
    def readonly(self) -> bool:
        """Whether nothing can stay of it."""
        return self.handler.readonly

    @property
    def context(self) -> Context:
        """What the function may know; made when it is asked for."""
        if self._context is None:
            of = self._subject
            self._context = Context(
                of.namespace, of.key, of.id, of.address, self.phase, of.attempt, of.round, 0, None, self, of.chain
            )
        return self._context

    def arguments(self) -> dict[str, Any]:
        """What the function is called with, but for a transaction."""
        given: dict[str, Any] = {}
        values = iter(self.values)
        for argument in self.call.arguments:
            if argument.kind is Kind.INPUT or argument.kind is Kind.RESULT:
                given[argument.name] = next(values)
            elif argument.kind is Kind.CONTEXT:
                given[argument.name] = self.context
            elif argument.kind is Kind.RESOURCE:
                given[argument.name] = self._desk.resources[argument.key]
        return given

    def admit(self, result: Any) -> bytes:
        """The payload of the reply. Raises ValueRefused and LimitExceeded."""
        if self.codec is None:
            return b"null"
        return self.codec.admit(result, f"the reply of {self.handler.where}", self._desk.payload_bytes)[0]

    def secrets(self) -> Sequence[object]:
        """The marked values of what it was given."""
        return in_payloads(self.known)

    def expire(self) -> bool:
        """The timeout is over: ask the function to stop. One that does not holds its place."""
        if self.cancelled:
            _log.warning(
                "%s was asked to stop %g s ago and still runs: the command %s waits for it",
                self.handler.where,
                self.timeout,
                self.address,
            )
        self.deadline = self.loop.time() + max(self.timeout, 1.0)
        self.ask_to_stop()
        return True


class CommandTry(Try):
    """A command on its way through the barrier."""

    def __init__(self, desk: Desk, handled: Handled, handler: Handler, command: Command) -> None:
        subject = Subject(command.namespace, command.key, command.saga, command.step, command.attempt, command.round)
        codec = handled.contract.replied if command.phase is Phase.ACTION else None
        self.handling: Handling = Handling(desk, handler, command.phase, subject, codec)
        self.handling.known = (Known(command.data, handled.contract.sent.secrets),)
        super().__init__(desk, self.handling, (command.namespace, command.saga, command.step), command.round)
        self.chain: Chain | None = Chain(command.key)
        self.command: Command = command
        self.verdict: Verdict | None = None
        self.stored: Entry | None = None  # as the barrier read it
        self.lock_seconds: float = min(LOCK_SECONDS, handler.timeout)
        self._contract = handled.contract
        self._horizon = desk.horizon_seconds
        self._now = 0.0
        self._seal = None if desk.seals is None else desk.seals.inbox(command.namespace, command.saga)
        if not self.kind:
            self.kind: str = desk.default_kind
            self.hops: bool = desk.default_awaited and not self.call.is_async

    def expired(self, now: float) -> Message | None:
        """What to say of a command that is older than what the inbox remembers."""
        self._now = now
        if expired(self.command.sent_at, now, self._horizon):
            return self.answer(Verdict.EXPIRED, None)
        return None

    def ruling(self, rows: list[InboxRow]) -> Ruling:
        """The barrier's word."""
        command = self.command
        arrival = Arrival(command.phase, command.round, command.sent_at, command.closed, command.known)
        return arrives(arrival, {row.round: as_entry(row) for row in rows}, self._now, self._horizon)

    def answer(self, verdict: Verdict, entry: Entry | None) -> Message:
        """The handler is not called; `reply` says why. Raises StoreUnavailable where what is kept cannot be opened: who
        asks is answered once it can."""
        try:
            self.stored = None if entry is None else opened(entry, self._seal, self.command.step)
        except StoreError as error:
            raise StoreUnavailable(str(error)) from None
        self.verdict = verdict
        return m.Done(self.command.step, self.command.phase)

    def values(self, rows: list[InboxRow]) -> dict[str, Any]:
        """The command; a compensation gets the one that was stored, with its result. Raises ValueRefused."""
        contract, handling = self._contract, self.handling
        if self.command.phase is Phase.ACTION:
            handling.values = (contract.sent.decode(self.command.data),)
        else:
            entry = entry_of(rows, self.round)
            if entry is None or entry.command is None:
                raise ValueRefused(
                    f"the inbox has no command for {self.command.step}, so nothing can be undone with it"
                )
            try:
                _, _, _, result, _, stored = opened(entry, self._seal, self.command.step)
            except StoreError as error:
                raise ValueRefused(str(error)) from None
            handling.known = (Known(stored, contract.sent.secrets), Known(result, contract.replied.secrets))
            handling.values = (contract.sent.decode(_stored(stored)), contract.replied.decode(_stored(result)))
        return handling.arguments()

    def kept(self, message: m.Done, rows: list[InboxRow]) -> InboxRow:
        """The row that says that the handler has done it."""
        if self.command.phase is Phase.ACTION:
            return self._row(Entry(Kept.SUCCEEDED, result=message.result, command=_stored(self.command.data)))
        entry = entry_of(rows, self.round) or Entry(Kept.SUCCEEDED)
        return row_of(self.round, entry._replace(compensated=True))

    def refused(self, message: m.No) -> InboxRow | None:
        """The row of a rejection. One of a compensation is not kept: an operator's retry runs it again."""
        if self.command.phase is not Phase.ACTION:
            return None
        return self._row(Entry(Kept.REJECTED, reason=message.reason, command=_stored(self.command.data)))

    def _row(self, entry: Entry) -> InboxRow:
        return row_of(self.round, sealed(entry, self._seal, self.command.step))

    def reply(self, message: Message) -> Reply:
        """What the sender is told."""
        if self.verdict is not None:
            entry = self.stored
            word = answer(self.verdict, entry)
            if word is Word.SUCCEEDED and entry is not None:
                return reply_to(self.command, word, data=entry.result or b"null")
            said = entry.reason if word is Word.REJECTED and entry is not None else BARRED.get(self.verdict, "")
            return reply_to(self.command, word, said)
        return reply_for(self.command, message)


def reply_for(command: Command, message: Message) -> Reply:
    """What the sender is told where the handler was called."""
    match message:
        case m.Done() if command.phase is Phase.ACTION:
            return reply_to(command, Word.SUCCEEDED, data=message.result)
        case m.Done():
            return reply_to(command, Word.COMPENSATED)
        case m.No() if command.phase is Phase.ACTION:
            return reply_to(command, Word.REJECTED, message.reason)
        case m.No():
            return failed(command, f"its compensation says no: {message.reason}", park=True)
        case m.Failure():
            said = reply_to(command, Word.FAILED, message.reason)
            return said._replace(after=message.after, park=message.park, final=message.final)
    raise TypeError(f"{type(message).__name__} is no outcome of a handler")


def reply_to(command: Command, word: Word, reason: str = "", data: bytes = b"null") -> Reply:
    """A reply that is addressed as the command was."""
    return Reply(
        command.namespace,
        command.saga,
        command.key,
        command.step,
        command.phase,
        word,
        command.token,
        data,
        clean(reason),
        command.round,
        command.attempt,
    )


def failed(command: Command, reason: str, *, park: bool) -> Reply:
    """Nothing stayed of it; a person is needed, or not."""
    return reply_to(command, Word.FAILED, reason)._replace(park=park)


def unfit(command: Command, handled: Mapping[str, Handled], service: str, payload_bytes: int) -> str:
    """Why nobody here can be given a command at all; empty if somebody can. The words are for the saga's operator."""
    known = handled.get(command.type)
    if known is None or known.handler(command.phase) is None:
        what = "does" if command.phase is Phase.ACTION else "undoes"
        names = ", ".join(sorted(handled)) or "nothing"
        return (
            f"the service {service} knows no command {command.type} that it {what}; it knows {names}. One side has "
            "another version of the contract"
        )
    if command.phase is Phase.UNDO:
        return ""
    if len(command.data) > payload_bytes:  # it would be kept as long as its saga, and longer
        return f"the command has {len(command.data)} bytes; the service {service} takes {payload_bytes} (payload_bytes)"
    try:
        known.contract.sent.decode(command.data)
    except ValueRefused as error:
        return f"the command does not fit {known.contract!r} as the service {service} knows it: {error}"
    return ""


def _stored(payload: bytes | None) -> bytes:
    return payload or b"null"
