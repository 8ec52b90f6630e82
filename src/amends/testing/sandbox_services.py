"""The services of a sandbox: a carrier whose messages are taken by fakes and participants of the test.

Guarantees: what is done with a command follows from `decide/barrier.py`, and what a handler's end means is judged by
the code of production; services outlive the worker, and what they were in the middle of comes to them again.
Must not: open anything, or let time pass.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, cast

from amends.decide import messages as m
from amends.decide.barrier import HORIZON_SECONDS, Arrival, Entry, Kept, Verdict, answer, arrives
from amends.decide.events import Phase
from amends.decide.messages import Message as Told
from amends.decide.plan import EachNode, StepNode, walk
from amends.decide.wire import KIND, Command, Reply, Word, command_of, reply_message
from amends.define.bind import Kind
from amends.define.handlers import Handled, Handler
from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.errors import DefinitionError
from amends.message import Message
from amends.run.attempt import outcome
from amends.run.inbox import BARRED, Handling, Subject, reply_for, reply_to
from amends.run.participant import Participant
from amends.run.settings import Settings
from amends.run.timers import Deadlines
from amends.testing.sandbox_fakes import DONE_THERE, Fake, Hosted, Script, Trouble, Turn
from amends.testing.virtual import Inline, VirtualLoop
from amends.transport.base import Destination, Listening, Receive, Send
from amends.transport.names import PREFIX

SAVEPOINT = "amends_sandbox"
REPEATED_SECONDS = 0.001  # behind the first
Given = Sequence[Fake[Any, Any] | Participant | Hosted]
Row = tuple[bytes, str]  # saga and step


class Doer(NamedTuple):
    """Who does one command."""

    handled: Handled
    fake: Fake[Any, Any] | None = None
    tx: Any = None

    def script(self, phase: Phase) -> Script:
        """What becomes of this half."""
        return Script() if self.fake is None else self.fake.script(phase)


class Arrived:
    """A message that nobody is done with. at: the instant at which it arrives. It is its own delivery."""

    flaw = ""
    times = 1

    def __init__(self, services: SandboxServices, to: str, message: Message, at: float) -> None:
        self.to: str = to
        self.message: Message | None = message
        self.at: float = at
        self._services = services

    async def ack(self) -> None:
        """It is done with."""
        self._services.over(self)

    async def retry(self, after_seconds: float = 0.0) -> None:
        """Have it come again."""
        self._services.again(self, after_seconds)

    async def bury(self, reason: str) -> None:
        """It can never be handled."""
        self._services.over(self)


class SandboxServices:
    """All services of one sandbox. As a carrier it is open while a worker lives; as `Desk` it is what handlers need."""

    away = ""
    prefix = PREFIX
    default_kind = ""
    default_awaited = False
    has_around = False
    horizon_seconds = HORIZON_SECONDS

    def __init__(self, given: Given, sagas: Sequence[Saga[Any, Any]], provided: Resources, settings: Settings) -> None:
        """Raises DefinitionError."""
        self.payload_bytes: int = settings.payload_bytes
        self.resources: dict[Any, Any] = {}
        self.loop: asyncio.AbstractEventLoop
        self.deadlines: Deadlines
        self._doers = _doers(given)
        self._provided = provided
        self._rows: dict[Row, dict[int, Entry]] = {}
        self._waiting: list[Arrived] = []
        self._receivers: dict[str, Receive] = {}
        self._locks: dict[Row, asyncio.Lock] = {}
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._closed = True
        for saga in sagas:
            _check_done(saga, self._doers)
        for doer in self._doers.values():
            _check_filled(doer, provided)

    # As a carrier

    async def open(self) -> None:
        """Another worker is there. What services were in the middle of comes to them again."""
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
        self._closed = False
        self._receivers.clear()
        self._locks.clear()
        self._tasks.clear()
        if any(doer.fake is None for doer in self._doers.values()):
            self._stack = AsyncExitStack()
            self.resources = await self._provided.open(self._stack)
        for arrived in self._waiting:
            self._schedule(arrived)

    async def close(self) -> None:
        """The worker leaves. What is in hand comes again, to whoever takes over."""
        self._closed = True
        self._receivers.clear()
        self.deadlines.close()
        for task in list(self._tasks):
            task.cancel()
        await self._stack.aclose()

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        for send in sends:
            self._put(send.to.name, send.message)
        return [None] * len(sends)

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        self._receivers[source.name] = receive
        for arrived in self._waiting:
            if arrived.to == source.name:
                self._schedule(arrived)
        return _Stopped()

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        """They are there."""

    async def lag(self, source: Destination, group: str) -> int | None:
        return sum(arrived.to == source.name for arrived in self._waiting)

    def over(self, arrived: Arrived) -> None:
        """Somebody is done with it."""
        if arrived in self._waiting:
            self._waiting.remove(arrived)

    def again(self, arrived: Arrived, seconds: float) -> None:
        """It comes again."""
        arrived.at = self._now() + seconds
        self._schedule(arrived)

    def _now(self) -> float:
        return cast("VirtualLoop", self.loop).now()

    def _put(self, to: str, message: Message, seconds: float = 0.0) -> None:
        arrived = Arrived(self, to, message, self._now() + seconds)
        self._waiting.append(arrived)
        self._schedule(arrived)

    def _schedule(self, arrived: Arrived) -> None:
        self.loop.call_later(max(arrived.at - self._now(), 0.0), self._arrive, arrived)

    def _arrive(self, arrived: Arrived) -> None:
        if arrived not in self._waiting:
            return
        if arrived.to.endswith(".commands"):
            task = self.loop.create_task(self._take(arrived))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif arrived.to in self._receivers:
            self._receivers[arrived.to]([arrived])

    # As the Runner of handlers

    def in_thread(self, fn: Callable[[], Any]) -> asyncio.Future[Any]:
        """At once."""
        return asyncio.wrap_future(Inline().submit(fn), loop=self.loop)

    async def around(self, ctx: Any, stack: AsyncExitStack) -> None:
        """There is nothing around handlers here."""

    def share(self) -> float:
        """No jitter."""
        return 0.0

    # As services

    async def _take(self, arrived: Arrived) -> None:
        """A command arrives; or word that sagas have ended, which nobody here has to hear."""
        message = cast("Message", arrived.message)
        if message.attributes.get(KIND) not in (Phase.ACTION.value, Phase.UNDO.value):
            self.over(arrived)
            return
        command = command_of(message)
        doer = self._doers[command.type]
        script = doer.script(command.phase)
        turn = script.take()
        if turn.trouble is Trouble.COMMAND_LOST:
            self.over(arrived)
            return
        if doer.fake is not None and command.phase is Phase.ACTION:
            doer.fake.asked.append(doer.handled.contract.sent.decode(command.data))
        async with self._locks.setdefault((command.saga, command.step), asyncio.Lock()):
            reply = await self._through(doer, command, turn, script)
        if self._closed or asyncio.get_running_loop() is not self.loop:
            return  # it was given up with its worker
        self.over(arrived)
        self._answer(command, reply, turn)

    def _answer(self, command: Command, reply: Reply, turn: Turn) -> None:
        if turn.trouble is Trouble.REPLY_LOST:
            return
        source = f"/amends/{command.type.partition('.')[0]}"
        for delay in (0.0, REPEATED_SECONDS) if turn.trouble is Trouble.REPLY_TWICE else (turn.seconds,):
            self._count += 1
            now = self._now()
            message = reply_message(reply, command.type, f"reply-{self._count}", source, now, command.trace)
            self._put(command.reply_to, message, delay)

    async def _through(self, doer: Doer, command: Command, turn: Turn, script: Script) -> Reply:
        """Through the barrier, unless nothing is changed."""
        if doer.handled.contract.readonly:
            return reply_for(command, await self._done(doer, command, turn, None))
        rows = self._rows.setdefault((command.saga, command.step), {})
        arrival = Arrival(command.phase, command.round, command.sent_at, command.closed, command.known)
        ruling = arrives(arrival, rows, self._now())
        for lower in ruling.tombstones:
            rows[lower] = Entry(Kept.TOMBSTONE)
        entry = rows.get(command.round)
        if ruling.entry is not None:
            rows[command.round] = ruling.entry
        if ruling.verdict is not Verdict.RUN:
            if turn.trouble in DONE_THERE:
                script.put_back(turn)
            return _said_before(command, ruling.verdict, entry)
        message = await self._done(doer, command, turn, entry)
        kept = _kept(command, message, entry)
        if kept is not None:
            rows[command.round] = kept
        return reply_for(command, message)

    async def _done(self, doer: Doer, command: Command, turn: Turn, entry: Entry | None) -> Told:
        """The handler does it, or what the test said."""
        if turn.trouble is Trouble.REJECTS:
            return m.No(command.step, command.phase, turn.reason, sure=True)
        if turn.trouble is Trouble.FAILS:
            return m.Failure(command.step, command.phase, turn.reason, resolved=True)
        handler = cast("Handler", doer.handled.handler(command.phase))
        contract = doer.handled.contract
        subject = Subject(command.namespace, command.key, command.saga, command.step, command.attempt, command.round)
        codec = contract.replied if command.phase is Phase.ACTION else None
        handling = _InTransaction(self, handler, command.phase, subject, codec, doer.tx)
        stored = command.data if entry is None or entry.command is None else entry.command
        sent = contract.sent.decode(stored)
        if command.phase is Phase.ACTION:
            handling.values = (sent,)
        else:
            handling.values = (sent, contract.replied.decode((entry.result if entry else None) or b"null"))
        message = await self._in_transaction(doer.tx, handling)
        if doer.fake is not None and isinstance(message, m.Done):
            (doer.fake.done if command.phase is Phase.ACTION else doer.fake.undone).append(sent)
        return message

    async def _in_transaction(self, tx: Any, handling: Handling) -> Told:
        """What fails leaves nothing in a database."""
        handling.task = asyncio.current_task()
        if not isinstance(tx, sqlite3.Connection):
            return await outcome(handling, self)
        tx.execute(f"SAVEPOINT {SAVEPOINT}")
        message = await outcome(handling, self)
        if not isinstance(message, m.Done):
            tx.execute(f"ROLLBACK TO {SAVEPOINT}")
        tx.execute(f"RELEASE {SAVEPOINT}")
        return message


class _InTransaction(Handling):
    """A handler at work, with the transaction that the test gives it."""

    __slots__ = ("_tx",)

    def __init__(self, *given: Any) -> None:
        *others, self._tx = given
        super().__init__(*others)

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        given.update({one.name: self._tx for one in self.call.arguments if one.kind is Kind.TX})
        return given


class _Stopped:
    """A listener that has nothing to let go of."""

    async def stop(self) -> None:
        """Nothing more comes once the worker is gone."""


def _kept(command: Command, message: Told, entry: Entry | None) -> Entry | None:
    """The row that says what happened; None where nothing did."""
    match message:
        case m.Done() if command.phase is Phase.UNDO and entry is not None:
            return entry._replace(compensated=True)
        case m.Done():
            return Entry(Kept.SUCCEEDED, result=message.result, command=command.data)
        case m.No() if command.phase is Phase.ACTION:
            return Entry(Kept.REJECTED, reason=message.reason)
    return None


def _said_before(command: Command, verdict: Verdict, entry: Entry | None) -> Reply:
    """What is said where no handler is called."""
    word = answer(verdict, entry)
    if word is Word.SUCCEEDED and entry is not None:
        return reply_to(command, word, data=entry.result or b"null")
    reason = entry.reason if word is Word.REJECTED and entry is not None else BARRED.get(verdict, "")
    return reply_to(command, word, reason)


def _doers(given: Given) -> dict[str, Doer]:
    """By the command's name on the wire. Raises DefinitionError."""
    found: dict[str, Doer] = {}
    if not isinstance(given, (list, tuple)):
        raise DefinitionError(f"services=[…]: fakes and participants are expected, not {given!r:.80}")
    for one in given:
        hosted = Hosted(one) if isinstance(one, Participant) else one
        if isinstance(hosted, Fake):
            doers = [Doer(hosted.handled(), hosted)]
        elif isinstance(hosted, Hosted) and isinstance(hosted.participant, Participant):
            handlers = hosted.participant.built.handlers
            handlers.check_complete()
            doers = [Doer(handled, None, hosted.tx) for handled in handlers.commands.values()]
        else:
            raise DefinitionError(f"services=[…]: fakes and participants are expected, not {one!r:.80}")
        for doer in doers:
            if doer.handled.contract.type in found:
                raise DefinitionError(f"services=[…]: {doer.handled.contract.type} is done twice; take one out")
            found[doer.handled.contract.type] = doer
    return found


def _check_done(saga: Saga[Any, Any], doers: dict[str, Doer]) -> None:
    for node in walk(saga.plan.root):
        step = node.step if isinstance(node, EachNode) else node
        if isinstance(step, StepNode) and step.remote and step.command not in doers:
            service, _, name = step.command.partition(".")
            example = name.replace("-", "_").replace(".", "_")
            raise DefinitionError(
                f"the saga {saga.name!r} asks {service} for {name}, and nobody does it: "
                f"services=[fake({example}, …)], or the participant of {service}"
            )


def _check_filled(doer: Doer, provided: Resources) -> None:
    for handler in (doer.handled.action, doer.handled.undo):
        for argument in () if handler is None else handler.call.arguments:
            if argument.kind is Kind.TX and doer.tx is None:
                raise DefinitionError(
                    f"services=[…]: {handler.where} takes a {argument.label}; give it one of the test's: "  # type: ignore[union-attr]
                    "host(…, tx=…)"
                )
            if argument.kind is Kind.RESOURCE:
                provided.check(argument.key, argument.label, f"{handler.where}, parameter {argument.name}")  # type: ignore[union-attr]
